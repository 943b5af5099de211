package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/starter/printer"
)

type importOptions struct {
	*globals
	output       *printer.Format
	file         string
	createOrg    bool
	skipExisting bool
}

// importReport is what `import -o json` prints.
type importReport struct {
	Devices            int `json:"devices"`
	Fleets             int `json:"fleets"`
	EnrollmentRequests int `json:"enrollmentRequests"`
	Skipped            int `json:"skipped"`
	// Unsignable are the requests of which no certificate can ever be signed.
	Unsignable []inventory.UnsignableRequest `json:"unsignable,omitempty"`
}

func newImportCommand(g *globals) *cobra.Command {
	o := &importOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "import -f FILE|-",
		Short: "Put devices, fleets and enrollment requests into the database",
		Long: `Puts devices, fleets and enrollment requests into the database, from YAML or JSON as "flightctl get ... -o
yaml|json" prints them: single resources, lists, or several documents in one file. All of the file is imported, or
nothing; an error names the document and the field. A pending enrollment request of which no certificate can ever be
signed is imported, and
named in a warning.

Import the whole backup before the restore. While a restore of the organisation runs, a file is refused that adds a
device which would not wait: it would not be on the roll, and its agent would be served by the backup's version. Devices
that are deleted or decommissioned, fleets and enrollment requests may be imported.`,
		Example: `  starter import -f examples/fleet.yaml
  flightctl get devices -o yaml | starter import -f -
  starter import -f devices.json --org acme --create-org`,
		Args: cobra.NoArgs,
		RunE: run(func(ctx context.Context, _ []string) error { return o.run(ctx) }),
	}
	cmd.Flags().StringVarP(&o.file, "filename", "f", "", "`file` to import, or - for standard input")
	cmd.Flags().BoolVar(&o.createOrg, "create-org", false, "create the organisation of --org where it does not exist")
	cmd.Flags().BoolVar(&o.skipExisting, "skip-existing", false,
		"leave resources that exist as they are, instead of failing")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	return cmd
}

func (o *importOptions) validate() error {
	if o.file == "" {
		return usagef("say which file: -f FILE, or -f - for standard input")
	}
	if o.createOrg && o.org == "" {
		return usagef("--create-org needs --org")
	}
	return nil
}

func (o *importOptions) run(ctx context.Context) error {
	if err := o.validate(); err != nil {
		return err
	}
	file, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer file.Close()
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	options := inventory.ImportOptions{SkipExisting: o.skipExisting}
	if o.createOrg {
		options.CreateOrg = o.org
	} else if options.OrgID, err = o.orgID(ctx, store); err != nil {
		return err
	}
	result, err := store.Import(ctx, file, options)
	if err != nil {
		return fmt.Errorf("import %s: %w", o.file, err)
	}
	o.warn(result.Unsignable)
	return o.print(importReport(result))
}

// maxWarnings is how many requests warn names.
const maxWarnings = 20

// warn names requests that can never be signed. They are imported all the same, as the backup holds them.
func (o *importOptions) warn(unsignable []inventory.UnsignableRequest) {
	for i, r := range unsignable {
		if i == maxWarnings {
			fmt.Fprintf(o.io.Stderr, "warning: and %d more; see SIGNABLE in `starter get enrollmentrequests`\n",
				len(unsignable)-maxWarnings)
			return
		}
		fmt.Fprintf(o.io.Stderr, "warning: enrollmentrequest/%s %s\n", printer.OneLine(r.Name),
			printer.OneLine(r.Message))
	}
}

// open opens the file to import. A named pipe that no one writes to keeps the call that opens it; ctx ends the wait.
func (o *importOptions) open(ctx context.Context) (io.ReadCloser, error) {
	if o.file == "-" {
		return io.NopCloser(o.io.Stdin), nil
	}
	path := o.file
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.io.Dir, path)
	}
	var file *os.File
	opened := make(chan error, 1)
	go func() {
		var err error
		file, err = os.Open(path)
		opened <- err
	}()
	var err error
	select {
	case err = <-opened:
	case <-ctx.Done():
		err = fmt.Errorf("open %s: %w", path, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("read the file to import: %w", err)
	}
	return file, nil
}

func (o *importOptions) print(r importReport) error {
	return o.output.Print(o.io.Stdout, r, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "imported %s, %s, %s", printer.Count(r.Devices, "device"), printer.Count(r.Fleets, "fleet"),
			printer.Count(r.EnrollmentRequests, "enrollment request"))
		if err == nil && r.Skipped > 0 {
			_, err = fmt.Fprintf(w, "; left %d as they were", r.Skipped)
		}
		if n := len(r.Unsignable); err == nil && n > 0 {
			_, err = fmt.Fprintf(w, "; %s can never be signed", printer.Count(n, "enrollment request"))
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		return err
	})
}
