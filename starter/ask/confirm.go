package ask

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// EnvConfirmAbove is the share of a restore's roll above which the count of devices has to be confirmed.
const EnvConfirmAbove = "ROLLCALL_CONFIRM_ABOVE"

// defaultConfirmAbove is that share unless the environment says otherwise.
const defaultConfirmAbove = 0.25

// ConfirmAbove reads the share above which the count has to be confirmed.
func ConfirmAbove(streams printer.IO) (float64, error) {
	text, _ := streams.Env(EnvConfirmAbove)
	if text == "" {
		return defaultConfirmAbove, nil
	}
	share, err := runbook.ParseShare(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", EnvConfirmAbove, err)
	}
	return share, nil
}

// Confirmation is how it is known that whoever resumes a large share of the roll knows how many devices that are.
type Confirmation struct {
	IO printer.IO
	// Count is what --confirm says; 0 is nothing.
	Count int64
}

// Check has the count confirmed where the devices are a large share of the roll: --confirm says it, and a terminal asks
// for it. what is what holds the devices. The error says how to confirm.
func (c Confirmation) Check(what string, devices, onRoll int64) error {
	share, err := ConfirmAbove(c.IO)
	switch {
	case err != nil:
		return err
	case c.Count != 0 && c.Count != devices:
		return fmt.Errorf("--confirm %d: %s holds %s", c.Count, what, printer.Count(devices, "device"))
	case c.Count != 0, !runbook.AboveShare(devices, onRoll, share):
		return nil
	case c.IO.IsTerminal(c.IO.Stderr) && c.typed(what, devices, onRoll):
		return nil
	}
	return fmt.Errorf("%s holds %d of the %d devices of the roll: say that you know with --confirm %d", what, devices,
		onRoll, devices)
}

// typed asks the person at the terminal to type the count.
func (c Confirmation) typed(what string, devices, onRoll int64) bool {
	fmt.Fprintf(c.IO.Stderr, "%s holds %d of the %d devices of the roll. Type their count to go on: ", what, devices,
		onRoll)
	line, _ := bufio.NewReader(c.IO.Stdin).ReadString('\n')
	return strings.TrimSpace(line) == strconv.FormatInt(devices, 10)
}
