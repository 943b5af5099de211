package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/settings"
)

const secret = "postgres://rollcall:s3cret@db/rollcall"

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for name, test := range map[string]struct {
		environment map[string]string
		want, says  string
	}{
		"neither":            {},
		"the variable":       {environment: map[string]string{"URL": secret}, want: secret},
		"a file":             {environment: map[string]string{"URL_FILE": file("plain", secret)}, want: secret},
		"line breaks at end": {environment: map[string]string{"URL_FILE": file("lines", secret+"\r\n\n")}, want: secret},
		"blanks are kept":    {environment: map[string]string{"URL_FILE": file("blanks", " a b \n")}, want: " a b "},
		"an empty file name": {environment: map[string]string{"URL": secret, "URL_FILE": ""}, want: secret},
		"an empty variable":  {environment: map[string]string{"URL": "", "URL_FILE": file("beside", secret)}, want: secret},
		"both": {
			environment: map[string]string{"URL": secret, "URL_FILE": file("both", secret)},
			says:        "URL and URL_FILE are both set",
		},
		"no such file": {
			environment: map[string]string{"URL_FILE": filepath.Join(dir, "none")},
			says:        "none, which URL_FILE names: no such file",
		},
		"an empty file": {environment: map[string]string{"URL_FILE": file("empty", "\n")}, says: "it is empty"},
		"a folder":      {environment: map[string]string{"URL_FILE": dir}, says: "URL_FILE names: is a directory"},
		"a file of any size": {
			environment: map[string]string{"URL_FILE": file("large", strings.Repeat(secret, 4000))}, says: "65536 at most",
		},
		"the file of another": {environment: map[string]string{"KEY_FILE": file("other", secret)}},
	} {
		lookup := func(name string) (string, bool) { value, ok := test.environment[name]; return value, ok }
		value, err := settings.Read(lookup, "URL")
		require.Equal(t, test.want, value, name)
		if test.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.says, name)
		require.NotContains(t, err.Error(), "s3cret", name)
	}
}
