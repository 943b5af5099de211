package ask

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAJournalGoesOnWhereItsCommandWasInterrupted(t *testing.T) {
	t.Parallel()
	folder, now := filepath.Join(t.TempDir(), "state"), time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	open := func(secret string, at time.Time, command ...string) *Journal {
		j, err := OpenJournal(folder, secret, command, at)
		require.NoError(t, err)
		t.Cleanup(func() { _ = j.Close(false) })
		return j
	}
	first := open("db", now, "resume", "--all")
	require.False(t, first.GoesOn())
	first.Asking("a", "7")
	first.Asking("b", "8")
	first.Answered("a")
	// A kill in the middle of a write leaves half a line.
	_, err := first.file.WriteString(`{"answered":"b`)
	require.NoError(t, err)

	again := open("db", now.Add(time.Hour), "resume", "--all")
	require.True(t, again.GoesOn())
	require.Equal(t, first.RequestID, again.RequestID)
	require.Equal(t, now, again.Begun)
	require.Equal(t, map[string]string{"b": "8"}, again.Unanswered())
	type target struct{ name, version string }
	name := func(t target) string { return t.name }
	asked := func(_ target, name, version string) target { return target{name, version} }
	require.Equal(t, []target{{"c", "1"}, {"b", "8"}}, GoOn(again, []target{{"a", "9"}, {"c", "1"}}, name, asked),
		"who has answered is left out, and who has not is asked what it was asked")

	for name, other := range map[string]*Journal{
		"another command":  open("db", now, "resume", "--all", "--as", "bob"),
		"another database": open("db2", now, "resume", "--all"),
	} {
		require.False(t, other.GoesOn(), name)
		require.NotEqual(t, first.RequestID, other.RequestID, name)
	}
	late := open("db", now.Add(25*time.Hour), "resume", "--all")
	require.False(t, late.GoesOn(), "the same command a day later is another decision")
	require.Empty(t, late.Unanswered())
	require.NoError(t, late.Close(true))
	require.False(t, open("db", now, "resume", "--all").GoesOn(), "it was carried out to its end")

	info, err := os.Stat(late.file.Name())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	var none *Journal
	none.Asking("a", "1")
	none.Answered("a")
	require.Empty(t, none.Unanswered())
	require.NoError(t, none.Close(true))
}

// A command that an earlier release has begun goes on under the ids that it has asked under.
func TestTheIDsOfAJournal(t *testing.T) {
	t.Parallel()
	folder, now := t.TempDir(), time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	open := func() *Journal {
		j, err := OpenJournal(folder, "db", []string{"deny", "--all"}, now)
		require.NoError(t, err)
		t.Cleanup(func() { _ = j.Close(false) })
		return j
	}
	begun := open()
	require.Equal(t, "deny/one", begun.updateID("deny", "one"))
	again := open()
	require.True(t, again.GoesOn())
	require.Equal(t, "deny/one", again.updateID("deny", "one"))

	line := `{"requestId":"one","begun":"2026-08-01T09:00:00Z","command":["deny","--all"]}` + "\n"
	require.NoError(t, os.WriteFile(begun.file.Name(), []byte(line), 0o600))
	earlier := open()
	require.True(t, earlier.GoesOn())
	require.Equal(t, "one", earlier.updateID("deny", "one"))
	require.Equal(t, "deny/one", (*Journal)(nil).updateID("deny", "one"))
}

// A command may name thousands of devices.
func TestTheJournalOfALongCommandIsReadBack(t *testing.T) {
	t.Parallel()
	folder, now := t.TempDir(), time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	command := []string{"resume"}
	for i := range 3000 {
		command = append(command, fmt.Sprintf("%052d", i))
	}
	open := func() *Journal {
		j, err := OpenJournal(folder, "db", command, now)
		require.NoError(t, err)
		t.Cleanup(func() { _ = j.Close(false) })
		return j
	}
	begun := open()
	begun.Asking("a", "7")
	again := open()
	require.True(t, again.GoesOn())
	require.NoError(t, again.Unread)
	require.Equal(t, map[string]string{"a": "7"}, again.Unanswered())
	info, err := os.Stat(begun.file.Name())
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1000), "it does not repeat the command")

	// An earlier release wrote the whole command into the first line.
	first, err := json.Marshal(journalLine{RequestID: "one", Begun: now, Command: command, WithVerbs: true})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(begun.file.Name(), append(first, "\n{\"asked\":\"b\"}\n"...), 0o600))
	earlier := open()
	require.Equal(t, "one", earlier.RequestID)
	require.Equal(t, map[string]string{"b": ""}, earlier.Unanswered())
}

// A journal that cannot be read is begun again, and says so once.
func TestAJournalThatCannotBeReadIsBegunAgain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	for name, spoil := range map[string]func(path string) error{
		"no text of ours": func(path string) error {
			return os.WriteFile(path, []byte("\x00\x00\n{\"answered\":\"a\"}\n"), 0o600)
		},
		"no file": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			open := func() *Journal {
				j, err := OpenJournal(folder, "db", []string{"resume", "--all"}, now)
				require.NoError(t, err)
				t.Cleanup(func() { _ = j.Close(false) })
				return j
			}
			require.NoError(t, spoil(open().file.Name()))
			spoilt := open()
			require.Error(t, spoilt.Unread)
			require.False(t, spoilt.GoesOn())
			require.Zero(t, spoilt.AnsweredCount())
			spoilt.Answered("b")
			again := open()
			require.NoError(t, again.Unread)
			require.True(t, again.GoesOn())
			require.Equal(t, 1, again.AnsweredCount())
		})
	}
}
