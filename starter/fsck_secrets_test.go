package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/invariants"
	"rollcall/starter/printer"
)

// The password of a database is looked for however the database is named.
func TestFsckKnowsThePasswordOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://rollcall:hush-hush-hush@h/db", "postgres://rollcall@h/db?password=hush-hush-hush",
		"host=h user=rollcall password='hush-hush-hush'", "postgres://rollcall:hush%2Dhush%2Dhush@h1:1,h2:2/db",
	} {
		o := fsckOptions{globals: &globals{io: testIO(nil, nil, nil), databaseURL: address}}
		secrets, err := o.secrets()
		require.NoError(t, err)
		require.Contains(t, secrets, "hush-hush-hush", address)
	}
}

// What comes from Temporal cannot write lines of its own.
func TestFsckPrintsOneLineEach(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	require.NoError(t, fsckReport{Violations: []invariants.Violation{
		{Invariant: invariants.WorkflowAnswers, RestoreID: "x\nnothing is wrong", WorkflowID: "restore/x\nnothing is wrong"},
	}}.text(&text))
	require.NotContains(t, text.String(), "\nnothing is wrong")
	require.Contains(t, text.String(), printer.OneLine("restore/x\nnothing is wrong"))
}

// What was found is printed although the checks could not be ended.
func TestFsckPrintsWhatItFoundBeforeAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", version: "5"})
	b.store.DB().MustExec(`insert into rollcall.restores (id, state) values ('one', 'Running'), ('two', 'Running')`)
	o := b.run("fsck", "--settle", "0", "-o", "json")
	require.Equal(t, 1, o.code, "this test has no Temporal")
	require.Empty(t, o.stdout)

	report := fsckReport{Incomplete: true, Violations: []invariants.Violation{{Invariant: invariants.OneDecision}}}
	var text strings.Builder
	require.NoError(t, report.text(&text))
	require.Contains(t, text.String(), "1 violation; not everything could be checked")
}
