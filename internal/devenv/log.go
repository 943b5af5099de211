package devenv

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// serverLog takes what a server says, and can repeat the last of it in an error.
type serverLog struct {
	file  *os.File // written to by the server itself, so that it can go on speaking when we are dead
	start int64    // where in the file it began
	owned bool
	given io.Writer // else through us
	mu    sync.Mutex
	end   []byte
}

const (
	// logTailBytes is how many bytes of a server's log an error repeats.
	logTailBytes = 4096
	// logKeptBytes is how many bytes are searched for the beginning of a panic, which a long stack follows.
	logKeptBytes = 64 << 10
)

// openLog logs to given, or to the file "log" in dir, from its beginning, where given is nil.
func openLog(given io.Writer, dir string) (*serverLog, error) {
	if given == nil {
		file, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
		return &serverLog{file: file, owned: true}, nil
	}
	if file, ok := given.(*os.File); ok {
		l := &serverLog{file: file}
		if info, err := file.Stat(); err == nil {
			l.start = info.Size()
		}
		return l, nil
	}
	return &serverLog{given: given}, nil
}

func (l *serverLog) writer() io.Writer {
	if l.file != nil {
		return l.file
	}
	return l
}

// Write passes on what the server says.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.end = append(l.end, p...)
	if over := len(l.end) - logKeptBytes; over > 0 {
		l.end = append([]byte(nil), l.end[over:]...)
	}
	l.mu.Unlock()
	return l.given.Write(p)
}

// String is what an error repeats of the log: empty, or beginning with a line break. It is the end of the log, or the
// beginning of a panic where there is one.
func (l *serverLog) String() string {
	text := strings.TrimSpace(string(l.last()))
	switch {
	case text == "":
		return ""
	case l.panicked():
		text = text[strings.LastIndex(text, panicWord):]
		text = text[:min(len(text), logTailBytes)]
	default:
		text = text[max(0, len(text)-logTailBytes):]
	}
	return "; it said:\n" + text
}

// panicWord begins what a Go program says when it panics.
const panicWord = "panic: "

// panicked reports whether the server has said that it panics.
func (l *serverLog) panicked() bool { return strings.Contains(string(l.last()), panicWord) }

func (l *serverLog) last() []byte {
	if l.file == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return append([]byte(nil), l.end...)
	}
	info, err := os.Stat(l.file.Name())
	if err != nil || !info.Mode().IsRegular() {
		return nil // a terminal: it has been read there
	}
	file, err := os.Open(l.file.Name())
	if err != nil {
		return nil
	}
	defer file.Close()
	text, _ := io.ReadAll(io.NewSectionReader(file, max(l.start, info.Size()-logKeptBytes), logKeptBytes))
	return text
}

// close gives up our hold on the file; the server keeps its own.
func (l *serverLog) close() {
	if l.owned {
		l.file.Close()
	}
}
