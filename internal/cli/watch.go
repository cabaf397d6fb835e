package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminalSize returns the width and height of the terminal that w is, or zeros.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// Control sequences of a terminal (ECMA-48, and xterm's alternate screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// runWatch writes the status again and again, until Ctrl-C or an error of w. On a terminal, it
// refreshes the screen. An error of the plugin does not end it, because the plugin may come
// back.
func (s *statusCommand) runWatch(ctx context.Context, w, errs io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	_, height := terminalSize(w)
	onScreen := height > 0 && !s.asJSON
	if onScreen {
		fmt.Fprint(w, enterScreen)
		defer fmt.Fprint(w, leaveScreen)
	}
	return repeat(ctx, s.interval, resized, func(first bool) error {
		var page bytes.Buffer
		width, height := s.width(w), 0
		if _, err := s.once(ctx, &page, width); err != nil && ctx.Err() == nil {
			page.Reset()
			to := io.Writer(&page)
			if s.asJSON {
				to = errs
			}
			_ = writeLines(to, []string{"logspool: " + err.Error()}, width)
		}
		text := page.String()
		switch _, height = terminalSize(w); {
		case onScreen:
			text = screen(text, height)
		case !first && !s.asJSON:
			text = "\n" + text
		}
		_, err := io.WriteString(w, text)
		return err
	})
}

// repeat calls f at once and then every interval, and when there is a value in again. It
// returns the error of f, or nil when ctx is done.
func repeat(ctx context.Context, interval time.Duration, again <-chan os.Signal, f func(first bool) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for first := true; ; first = false {
		if err := f(first); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-again:
		}
	}
}

// screen returns what a terminal of that height needs to show page instead of the previous
// page. The last line says if something does not fit.
func screen(page string, height int) string {
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	if height > 1 && len(lines) > height {
		more := len(lines) - height + 1
		lines = append(lines[:height-1], fmt.Sprintf("… %d more lines", more))
	}
	return home + strings.Join(lines, clearLine+"\n") + clearLine + clearBelow
}
