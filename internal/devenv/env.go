package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// EnvFile is the name of the file below a development server's directory that tells other commands where it is.
const EnvFile = "env"

// Var is an environment variable.
type Var struct {
	Name  string
	Value string
}

// WriteEnv writes vars to path as exports for a POSIX shell, each value quoted, in the order given. The file is
// replaced as a whole, and only its owner can read it: it holds a password.
func WriteEnv(path string, vars []Var) error {
	var text strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&text, "export %s=%s\n", v.Name, quote(v.Value))
	}
	unfinished := path + ".new"
	err := os.WriteFile(unfinished, []byte(text.String()), 0o600)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return fmt.Errorf("write environment for other commands: %w", err)
	}
	return nil
}

// ReadEnv reads a file that WriteEnv wrote. A line that it cannot have written is an error with its number.
func ReadEnv(path string) ([]Var, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read environment: %w", err)
	}
	var vars []Var
	// A value may hold line breaks, so the end of a variable is its closing quote.
	rest, line := string(text), 1
	for rest != "" {
		v, after, ok := cutVar(rest)
		if !ok {
			return nil, fmt.Errorf("read environment: %s:%d is not of the form export NAME='value'", path, line)
		}
		vars = append(vars, v)
		line += strings.Count(rest[:len(rest)-len(after)], "\n")
		rest = after
	}
	return vars, nil
}

// ForeignError says that a directory or a file in it belongs to someone else, who could send commands to servers of
// theirs.
type ForeignError struct {
	Path string
	// UID is the user that it belongs to.
	UID uint32
}

// Error says whose it is.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s belongs to user %d: it is not trusted", e.Path, e.UID)
}

// LoadEnv sets the variables of the EnvFile in dir (".rollcall", as for LockDir) in our environment, if a development
// server runs there now, and returns those that it set. A variable that is set already keeps its value. Where such a
// value differs from the file's, or a TEMPORAL_PROFILE is chosen, nothing is set: half of the connections would go to
// one place and half to another. elsewhere is the name of that variable, or empty. A directory that belongs to someone
// else is a *ForeignError.
func LoadEnv(dir string) (set []Var, elsewhere string, err error) {
	if err := trusted(dir); err != nil {
		return nil, "", err
	}
	running, err := isLocked(dir)
	if err != nil || !running {
		return nil, "", err
	}
	if err := trusted(filepath.Join(dir, EnvFile)); err != nil {
		return nil, "", err
	}
	vars, err := ReadEnv(filepath.Join(dir, EnvFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", nil // the server is starting
	}
	if err != nil {
		return nil, "", err
	}
	missing, elsewhere := unset(vars)
	for _, v := range missing {
		if err := os.Setenv(v.Name, v.Value); err != nil {
			return nil, "", fmt.Errorf("set %s: %w", v.Name, err)
		}
	}
	return missing, elsewhere, nil
}

// unset returns the variables that are not set, or the name of one that says that another place is meant.
func unset(vars []Var) (missing []Var, elsewhere string) {
	if os.Getenv("TEMPORAL_PROFILE") != "" {
		return nil, "TEMPORAL_PROFILE"
	}
	for _, v := range vars {
		switch value, set := os.LookupEnv(v.Name); {
		case !set:
			missing = append(missing, v)
		case value != v.Value:
			return nil, v.Name
		}
	}
	return missing, ""
}

const quotedQuote = `'\''`

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", quotedQuote) + "'" }

// cutVar takes the first variable off text.
func cutVar(text string) (v Var, rest string, ok bool) {
	text, ok = strings.CutPrefix(text, "export ")
	if !ok {
		return Var{}, "", false
	}
	v.Name, text, ok = strings.Cut(text, "='")
	if !ok {
		return Var{}, "", false
	}
	for {
		part, after, found := strings.Cut(text, "'")
		if !found {
			return Var{}, "", false
		}
		v.Value += part
		if text, ok = strings.CutPrefix(after, quotedQuote[1:]); !ok {
			rest, ok = strings.CutPrefix(after, "\n")
			return v, rest, ok
		}
		v.Value += "'"
	}
}
