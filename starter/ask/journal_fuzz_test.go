package ask

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzJournal goes on with whatever the file of an interrupted command holds, and goes on with that in the same way.
func FuzzJournal(f *testing.F) {
	const begins = `{"requestId":"r1","begun":"2026-08-01T10:00:00Z","command":["resume"],"withVerbs":true}` + "\n"
	for _, text := range []string{
		"", "\n", "null\n", "{}\n", "[]", begins, begins + `{"asked":"a","version":"7"}` + "\n" + `{"answered":"a"}` + "\n",
		begins + `{"asked":"a"}` + "\n" + `{"answered":"b`, `{"requestId":"r0","begun":"2020-01-01T00:00:00Z"}` + "\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		folder, now := t.TempDir(), time.Date(2026, 8, 1, 11, 0, 0, 0, time.UTC)
		open := func() *Journal {
			j, err := OpenJournal(folder, "db", []string{"resume"}, now)
			require.NoError(t, err)
			require.NotEmpty(t, j.RequestID)
			return j
		}
		first := open()
		require.NoError(t, first.Close(false))
		require.NoError(t, os.WriteFile(first.file.Name(), text, 0o600))

		// What is noted from here on is read again, whatever stands before it.
		j := open()
		j.Asking("asked now", "7")
		j.Asking("answered now", "8")
		j.Answered("answered now")
		require.NoError(t, j.Close(false))
		again := open()
		require.True(t, again.GoesOn())
		require.NoError(t, again.Unread)
		require.Equal(t, j.RequestID, again.RequestID)
		require.Equal(t, j.withVerbs, again.withVerbs)
		require.Equal(t, j.Unanswered(), again.Unanswered())
		require.Equal(t, j.answered, again.answered)
		require.NoError(t, again.Close(true))
	})
}
