// Package version says which build of Rollcall a program is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// The linker sets these (-X rollcall/internal/version.version=v1.2.3); without it they are what Go recorded.
var version, commit, date string

// Info is a build.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// Date is when the commit was made, in RFC 3339.
	Date string `json:"date,omitempty"`
	Go   string `json:"go"`
}

// Get returns the build of this program.
func Get() Info {
	info := Info{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	recorded := map[string]string{}
	for _, s := range build.Settings {
		recorded[s.Key] = s.Value
	}
	info.Version = first(info.Version, build.Main.Version, "(devel)")
	info.Commit = first(info.Commit, recorded["vcs.revision"])
	info.Date = first(info.Date, recorded["vcs.time"])
	return info
}

// String is one line: "v1.2.3 (commit 0123abc, of 2026-11-29T08:00:00Z, go1.26.8)".
func (i Info) String() string {
	of := first(i.Date, "an unknown date")
	return fmt.Sprintf("%s (commit %s, of %s, %s)", i.Version, first(i.Commit, "unknown"), of, i.Go)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
