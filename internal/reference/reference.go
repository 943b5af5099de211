// Package reference writes the man pages and the reference of the programs from their own command lines, for tests: the
// programs do not need it.
package reference

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Program describes a program that has flags only, as a command.
func Program(name, short, long string, flags *flag.FlagSet) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Long: long, Run: func(*cobra.Command, []string) {}}
	cmd.Flags().AddGoFlagSet(flags)
	return cmd
}

// WriteManPages writes one page for each command into dir/manN, where N is the section. DATE, as RFC 3339, and VERSION
// of the environment are those of the pages.
func WriteManPages(cmd *cobra.Command, section, dir string) error {
	header := &doc.GenManHeader{Section: section, Source: "Rollcall " + os.Getenv("VERSION"), Manual: "Rollcall"}
	if date, err := time.Parse(time.RFC3339, os.Getenv("DATE")); err == nil {
		header.Date = &date
	}
	dir = filepath.Join(dir, "man"+section)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of man pages: %w", err)
	}
	cmd.DisableAutoGenTag = true
	if err := doc.GenManTree(cmd, header, dir); err != nil {
		return fmt.Errorf("write man pages of %s: %w", cmd.Name(), err)
	}
	return nil
}

// Markdown is the reference of cmd and all commands below it, in one page.
func Markdown(cmd *cobra.Command) (string, error) {
	var page bytes.Buffer
	if err := add(&page, cmd); err != nil {
		return "", fmt.Errorf("write the reference of %s: %w", cmd.Name(), err)
	}
	return strings.TrimSpace(page.String()) + "\n", nil
}

func add(page *bytes.Buffer, cmd *cobra.Command) error {
	cmd.DisableAutoGenTag = true
	cmd.InitDefaultHelpFlag()
	if err := doc.GenMarkdownCustom(cmd, page, anchor); err != nil {
		return err
	}
	page.WriteString("\n")
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := add(page, sub); err != nil {
			return err
		}
	}
	return nil
}

// anchor is the link to a command's heading, for the name of the file that it would have.
func anchor(file string) string {
	return "#" + strings.ReplaceAll(strings.TrimSuffix(file, ".md"), "_", "-")
}
