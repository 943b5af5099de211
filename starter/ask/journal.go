package ask

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// journalLife is how long an interrupted bulk command can be continued. After that the same command is a new decision.
const journalLife = 24 * time.Hour

// Journal keeps in a file which devices a bulk command has asked and which of them have answered. After an
// interruption, even by SIGKILL, the same command continues under the same request id, and asks only those that have
// not answered. Several goroutines may call its methods. A nil Journal keeps nothing.
type Journal struct {
	// RequestID is the id of the decision.
	RequestID string
	// Begun is when the command was interrupted; zero for one that begins now.
	Begun time.Time
	// Unread is why the file of an earlier run could not be read. The journal begins again.
	Unread error

	mu       sync.Mutex
	file     *os.File
	asked    map[string]string
	answered map[string]bool
	// withVerbs reports whether the ids of updates name their verb; those of an earlier release do not.
	withVerbs bool
}

// journalLine is a line of the file. The first line begins the journal. Each other line says that a name was asked, or
// that it has answered.
type journalLine struct {
	RequestID string    `json:"requestId,omitempty"`
	Begun     time.Time `json:"begun,omitzero"`
	// Command is the verb. An earlier release wrote the whole command, which the file's name identifies.
	Command   []string `json:"command,omitempty"`
	WithVerbs bool     `json:"withVerbs,omitempty"`

	Asked    string `json:"asked,omitempty"`
	Version  string `json:"version,omitempty"`
	Answered string `json:"answered,omitempty"`
}

// OpenJournal opens the journal of a command in folder, and makes the folder where it is missing. secret is part of
// what identifies the command, and is not written to the file.
func OpenJournal(folder, secret string, command []string, now time.Time) (*Journal, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("keep how far the command has come: %w", err)
	}
	id, err := json.Marshal(append([]string{secret}, command...))
	if err != nil {
		return nil, fmt.Errorf("keep how far the command has come: %w", err)
	}
	sum := sha256.Sum256(id)
	path := filepath.Join(folder, hex.EncodeToString(sum[:16])+".jsonl")
	j := &Journal{}
	j.forget()
	cut, err := j.read(path, now)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		j.forget()
		j.Unread = err
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove what cannot be read of how far the command has come: %w", err)
		}
	}
	flags := os.O_WRONLY | os.O_APPEND
	if j.RequestID == "" {
		flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | os.O_TRUNC
	}
	if j.file, err = os.OpenFile(path, flags, 0o600); err != nil {
		return nil, fmt.Errorf("keep how far the command has come: %w", err)
	}
	if j.RequestID == "" {
		j.RequestID, j.withVerbs = uuid.NewString(), true
		verb := command[:min(1, len(command))]
		j.write(journalLine{RequestID: j.RequestID, Begun: now.UTC(), Command: verb, WithVerbs: true})
	} else if cut {
		_, _ = j.file.WriteString("\n") // the next line is not part of the one that was cut
	}
	return j, nil
}

// forget is how a journal begins.
func (j *Journal) forget() {
	j.RequestID, j.Begun, j.withVerbs = "", time.Time{}, false
	j.asked, j.answered = map[string]string{}, map[string]bool{}
}

// read takes over what the file of an interrupted command says. A line that was not written to its end is none. cut
// reports whether the last line has no end.
func (j *Journal) read(path string, now time.Time) (cut bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	begins := false
	for lines := bufio.NewReader(file); err == nil; {
		var text []byte
		text, err = lines.ReadBytes('\n') // of any length: the first may hold thousands of names
		cut = err != nil && len(text) > 0
		var line journalLine
		if json.Unmarshal(text, &line) != nil {
			continue
		}
		begins = begins || line.RequestID != ""
		switch {
		case line.RequestID != "" && now.Sub(line.Begun) < journalLife:
			j.RequestID, j.Begun, j.withVerbs = line.RequestID, line.Begun, line.WithVerbs
		case line.Asked != "":
			j.asked[line.Asked] = line.Version
		case line.Answered != "":
			j.answered[line.Answered] = true
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		return cut, err
	case !begins:
		return cut, errors.New("it does not say which command it is of")
	case j.RequestID == "":
		j.forget() // it is too old
	}
	return cut, nil
}

// write adds a line. One that cannot be written is asked for again by the same command, which gets the same answer.
func (j *Journal) write(line journalLine) {
	text, err := json.Marshal(line)
	if err == nil {
		_, _ = j.file.Write(append(text, '\n'))
	}
}

// updateID is the id of the update by which a verb asks under a request id. It names the verb: a workflow gives the
// same answer to every update of an id, whatever its name. A command that an earlier release has begun goes on under
// the ids that it has asked under.
func (j *Journal) updateID(verb, requestID string) string {
	if j.GoesOn() && !j.withVerbs {
		return requestID
	}
	return verb + "/" + requestID
}

// GoesOn reports whether the command goes on with one that was interrupted.
func (j *Journal) GoesOn() bool { return j != nil && !j.Begun.IsZero() }

// Asking notes that name is asked, about a version where the decision is about one.
func (j *Journal) Asking(name, version string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked[name] = version
	j.write(journalLine{Asked: name, Version: version})
}

// Answered notes that name has answered.
func (j *Journal) Answered(name string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answered[name] = true
	j.write(journalLine{Answered: name})
}

// HasAnswered reports whether name has answered, now or before the command was interrupted.
func (j *Journal) HasAnswered(name string) bool { return j != nil && j.answered[name] }

// AnsweredCount is how many have answered.
func (j *Journal) AnsweredCount() int {
	if j == nil {
		return 0
	}
	return len(j.answered)
}

// GoOn returns the targets that a continued command has to ask. It leaves out those that have answered. It adds those
// that were asked and have not answered, even if they are no longer selected. name returns the name of a target. asked
// returns the target for a name that was asked about a version; selected is the zero value where the name is no longer
// selected.
func GoOn[T any](j *Journal, targets []T, name func(T) string, asked func(selected T, name, version string) T) []T {
	open := j.Unanswered()
	left := make([]T, 0, len(targets))
	for _, t := range targets {
		n := name(t)
		if j.HasAnswered(n) {
			continue
		}
		if version, was := open[n]; was {
			t = asked(t, n, version)
			delete(open, n)
		}
		left = append(left, t)
	}
	for _, n := range slices.Sorted(maps.Keys(open)) {
		var none T
		left = append(left, asked(none, n, open[n]))
	}
	return left
}

// Unanswered returns the names that were asked and have not answered, each with the version that the question was
// about.
func (j *Journal) Unanswered() map[string]string {
	open := map[string]string{}
	if j != nil {
		for name, version := range j.asked {
			if !j.answered[name] {
				open[name] = version
			}
		}
	}
	return open
}

// Close ends the journal. With done there is nothing to go on with, and the file is removed.
func (j *Journal) Close(done bool) error {
	if j == nil {
		return nil
	}
	err := j.file.Close()
	if done {
		err = errors.Join(err, os.Remove(j.file.Name()))
	}
	if err != nil {
		return fmt.Errorf("close the file that keeps how far the command has come: %w", err)
	}
	return nil
}
