// Command program is the only program in the image of the tests' containers. It prints
// numbered lines, either when it starts or on commands over a socket, so that a test knows
// what was printed and when.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
)

func main() {
	log.SetFlags(0)
	name := flag.String("name", "program", "name in the lines")
	lines := flag.Int("lines", 0, "lines to print at the start, to each output")
	size := flag.Int("size", 0, "bytes of a line; 0: as short as possible")
	to := flag.String("to", "stdout", "outputs: stdout, stderr or stdout,stderr")
	text := flag.String("text", "", "text to print after the lines")
	env := flag.String("env", "", "variable whose value to print after the lines")
	host := flag.Bool("host", false, "print the host name after the lines")
	hold := flag.Bool("hold", false, "wait for SIGTERM at the end")
	ignore := flag.Bool("ignore-term", false, "ignore SIGTERM")
	control := flag.String("control", "", "socket for commands")
	flag.Parse()

	// Without a handler, the kernel ignores SIGTERM for PID 1.
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if *ignore {
		term = nil
	}

	p := &printer{size: *size}
	for _, source := range strings.Split(*to, ",") {
		file := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}[source]
		if file == nil {
			log.Fatalf("-to %s: the outputs are stdout and stderr", *to)
		}
		p.outputs = append(p.outputs, output{
			Writer:   bufio.NewWriterSize(file, 32<<10),
			sequence: dockertest.Sequence{Container: *name, Source: source},
		})
	}
	p.print(*lines)
	p.text(*text)
	if *env != "" {
		p.text(os.Getenv(*env))
	}
	if *host {
		name, err := os.Hostname()
		if err != nil {
			log.Fatal(err)
		}
		p.text(name)
	}
	if *control != "" {
		if err := p.obey(*control, term); err != nil {
			log.Fatal(err)
		}
	}
	if *hold {
		<-term
	}
}

// printer prints the same number of lines to each output.
type printer struct {
	outputs []output
	size    int
}

type output struct {
	*bufio.Writer
	sequence dockertest.Sequence
}

func (p *printer) line() {
	for i := range p.outputs {
		o := &p.outputs[i]
		_, _ = o.WriteString(o.sequence.Next(p.size))
		_ = o.WriteByte('\n')
	}
}

func (p *printer) flush() {
	for _, o := range p.outputs {
		if err := o.Flush(); err != nil {
			log.Fatal(err)
		}
	}
}

func (p *printer) print(n int) {
	for range n {
		p.line()
	}
	p.flush()
}

func (p *printer) text(s string) {
	_, _ = p.outputs[0].WriteString(s)
	p.flush()
}

// obey runs the commands that it gets over the socket at path, one a line. It answers each
// with the number of lines that the program has printed:
//
//	print N      prints N lines
//	flood RATE   starts to print RATE lines a second, or as many as possible if RATE is 0
//	stop         stops the flood
//	file TO PATH prints the file at PATH to the output TO
//
// At the end of the commands and at SIGTERM, it stops and answers once more.
func (p *printer) obey(path string, term <-chan os.Signal) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	commands := make(chan string)
	go func() {
		defer close(commands)
		for in := bufio.NewScanner(conn); in.Scan(); {
			commands <- in.Text()
		}
	}()
	var flood <-chan time.Time
	always := make(chan time.Time)
	close(always)
	for {
		select {
		case <-flood:
			p.line()
			if flood != always {
				p.flush()
			}
			continue
		case <-term:
			return p.answer(conn)
		case command, ok := <-commands:
			if !ok {
				return p.answer(conn)
			}
			verb, arg, _ := strings.Cut(command, " ")
			n, _ := strconv.Atoi(arg)
			switch verb {
			case "print":
				p.print(n)
			case "flood":
				if flood = always; n > 0 {
					flood = time.NewTicker(time.Second / time.Duration(n)).C
				}
			case "stop":
				flood = nil
			case "file":
				if err := printFile(arg); err != nil {
					return err
				}
			default:
				return fmt.Errorf("unknown command %q", command)
			}
			if err := p.answer(conn); err != nil {
				return err
			}
		}
	}
}

// printFile prints a file to an output, without the buffers.
func printFile(arg string) error {
	to, path, _ := strings.Cut(arg, " ")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file := os.Stdout
	if to == "stderr" {
		file = os.Stderr
	}
	_, err = file.Write(data)
	return err
}

func (p *printer) answer(w io.Writer) error {
	p.flush()
	_, err := fmt.Fprintln(w, p.outputs[0].sequence.N)
	return err
}
