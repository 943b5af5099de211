package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=v1.2.3); without it the version is the one that Go recorded.
var version string

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func newVersionCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  starter version\n  starter version -o json",
		Args:    cobra.NoArgs,
	}
	output := bindFormat(cmd, outputJSON, outputYAML)
	cmd.RunE = run(func(context.Context, []string) error {
		info := buildInfo()
		return output.print(g.io.Stdout, info, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "rollcall %s (commit %s, %s)\n", info.Version, orNone(info.Commit), info.Go)
			return err
		})
	})
	return cmd
}

func buildInfo() versionInfo {
	info := versionInfo{Version: version, Go: runtime.Version()}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			info.Commit = s.Value
		}
	}
	return info
}
