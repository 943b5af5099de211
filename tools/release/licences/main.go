// Licences reads an SBOM in CycloneDX's JSON from its standard input, and fails where a module's licence is not one
// that Rollcall may be shipped with.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// allowed are licences that ask for no more than to be named.
var allowed = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD"}

// read are licences that a person has read, where the detection finds another one or none.
var read = map[string]string{
	"github.com/gogo/protobuf":    "BSD-3-Clause",
	"github.com/pressly/goose/v3": "MIT",
	"golang.org/x/net":            "BSD-3-Clause",
	"golang.org/x/sync":           "BSD-3-Clause",
	"golang.org/x/sys":            "BSD-3-Clause",
	"golang.org/x/term":           "BSD-3-Clause",
	"golang.org/x/text":           "BSD-3-Clause",
	"golang.org/x/time":           "BSD-3-Clause",
}

// unlicensed are modules that come without the text of a licence, and why they are taken all the same.
var unlicensed = map[string]string{
	"github.com/nexus-rpc/nexus-proto-annotations": "by the authors of go.temporal.io/api, which is MIT and needs it",
}

type component struct {
	Name     string `json:"name"`
	Evidence struct {
		Licences []struct {
			Licence struct {
				ID string `json:"id"`
			} `json:"license"`
		} `json:"licenses"`
	} `json:"evidence"`
}

func main() {
	var bom struct {
		Components []component `json:"components"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&bom); err != nil || len(bom.Components) == 0 {
		fmt.Fprintln(os.Stderr, "error: no SBOM with components on standard input:", err)
		os.Exit(1)
	}
	bad := 0
	for _, c := range bom.Components {
		if complaint := c.check(); complaint != "" {
			fmt.Fprintln(os.Stderr, complaint)
			bad++
		}
	}
	fmt.Printf("%d modules, %d with a licence that is not allowed\n", len(bom.Components), bad)
	if bad > 0 {
		os.Exit(1)
	}
}

// check says what is wrong with the licences of c; "" if nothing is.
func (c component) check() string {
	if licence, ok := read[c.Name]; ok {
		if slices.Contains(allowed, licence) {
			return ""
		}
		return fmt.Sprintf("%s: its licence %s is not allowed", c.Name, licence)
	}
	if why, ok := unlicensed[c.Name]; ok && len(c.Evidence.Licences) == 0 {
		fmt.Printf("%s has no licence of its own: %s\n", c.Name, why)
		return ""
	}
	if len(c.Evidence.Licences) == 0 {
		return fmt.Sprintf("%s: no licence was found; read it, and say in tools/release/licences what it is", c.Name)
	}
	for _, l := range c.Evidence.Licences {
		if !slices.Contains(allowed, l.Licence.ID) {
			return fmt.Sprintf("%s: its licence %s is not allowed", c.Name, l.Licence.ID)
		}
	}
	return ""
}
