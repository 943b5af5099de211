// Package settings reads a program's settings from the environment, or from the files that it names.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// FileSuffix makes the name of the variable that names a file: the file of ROLLCALL_DATABASE_URL is in
// ROLLCALL_DATABASE_URL_FILE. systemd's LoadCredential and mounted Kubernetes secrets are such files.
const FileSuffix = "_FILE"

// mostBytes bounds what is read: a URL or a key, and not a disk image by mistake.
const mostBytes = 64 << 10

// Read returns the setting: the value of the variable name, or the content of the file that name_FILE names, without
// the line breaks at its end. It is "" where neither is set. Both together are an error, and so is a file that is empty
// or cannot be read. No error holds the value.
func Read(lookup func(string) (string, bool), name string) (string, error) {
	value, _ := lookup(name)
	path, _ := lookup(name + FileSuffix)
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("%s and %s are both set: unset one of them", name, name+FileSuffix)
	}
	value, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s, which %s names: %w", path, name+FileSuffix, err)
	}
	return value, nil
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > mostBytes {
		return "", fmt.Errorf("it holds %d bytes; a setting has %d at most", info.Size(), mostBytes)
	}
	if err != nil {
		return "", reason(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", reason(err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", errors.New("it is empty")
	}
	return value, nil
}

// reason is the error without the path, which the caller names.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
