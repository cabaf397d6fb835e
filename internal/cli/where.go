package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/internal/oneline"
)

// engineTimeout limits how long a command waits for the Docker engine.
const engineTimeout = 20 * time.Second

// where says which plugin, or which state directory, a command is about.
type where struct {
	plugin   string
	stateDir string
}

func (w *where) addFlags(c *cobra.Command) {
	c.PersistentFlags().StringVar(&w.plugin, "plugin", "", "`name` of the plugin, if several logspool plugins are installed")
	c.PersistentFlags().StringVar(&w.stateDir, "state-dir", "", "read this state `directory`, without asking the Docker engine for the plugin's")
	_ = c.MarkPersistentFlagDirname("state-dir")
	c.MarkFlagsMutuallyExclusive("plugin", "state-dir")
}

// geteuid is os.Geteuid. Tests replace it.
var geteuid = os.Geteuid

// errNeverEnabled is in the error of find if the plugin was never enabled.
var errNeverEnabled = errors.New("was never enabled: it has no state directory")

// find returns the state directory. p is nil if the directory was named. find blocks for the
// Docker engine.
func (w *where) find(ctx context.Context) (dir string, p *installed.Plugin, err error) {
	if w.stateDir != "" {
		return w.stateDir, nil, checkDir(w.stateDir)
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	p, engine, err := installed.Find(ctx, w.plugin)
	switch {
	case errors.Is(err, installed.ErrNone):
		return "", nil, err
	case err != nil:
		return "", nil, fmt.Errorf("%s (with --state-dir, no engine is needed)", oneline.Text(err.Error(), maxError))
	}
	if dir = p.StateDir(); dir != "" {
		if err := checkDir(dir); errors.Is(err, fs.ErrNotExist) {
			return "", p, fmt.Errorf("the plugin %s %w", printable(p.Name), errNeverEnabled)
		} else if err != nil {
			return "", p, err
		}
		return dir, p, nil
	}
	switch {
	case geteuid() != 0:
		err = fmt.Errorf("only root can read the files of the plugin %s: run this command as root", printable(p.Name))
	case p.Dir == "":
		err = fmt.Errorf("the plugin %s has no directory below %s on this host: run this command on the engine's host", printable(p.Name), printable(engine.Root))
	default:
		err = fmt.Errorf("the plugin %s keeps its state outside its own mount (STATE_DIR=%s): name the directory with --state-dir", printable(p.Name), printable(p.Env["STATE_DIR"]))
	}
	return "", p, err
}

// checkDir returns an error if dir cannot be read.
func checkDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return dirError(dir, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a directory")
	}
	return dirError(dir, err)
}

func dirError(dir string, err error) error {
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root can read %s: run this command as root", printable(dir))
	case errors.As(err, &path):
		err = path.Err
	}
	return fmt.Errorf("couldn't read the state directory %s: %w", printable(dir), err)
}
