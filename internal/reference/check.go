package reference

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Check compares a page of docs/reference with what was generated now, in a test that runs in a folder somewhere in the
// repository. Where UPDATE is set in the environment it writes the page instead: `make reference`.
func Check(name, page string) error {
	dir, err := folder()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if os.Getenv("UPDATE") != "" {
		return os.WriteFile(path, []byte(page), 0o600)
	}
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the reference: %w", err)
	}
	if string(have) != page {
		return fmt.Errorf("docs/reference/%s is not what the code says: run make reference", name)
	}
	return nil
}

// folder is docs/reference, looked for from the working directory upwards.
func folder() (string, error) {
	for up := "."; len(up) < 20; up = filepath.Join(up, "..") {
		dir := filepath.Join(up, "docs", "reference")
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", errors.New("docs/reference is not above the working directory")
}
