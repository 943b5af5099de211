package runbook

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// DecodeMessage reads the JSON payload of a signal or update into out. What cannot be read is a *Refusal with
// CodeInvalidRequest that says what was expected, so that no message vanishes because someone mistyped it. That
// includes a field that the message does not have: {"version":"7"} must not be taken for a device that reports none,
// and neither must null. Only a message that needs no content may come without a payload.
func DecodeMessage(name string, payload []byte, out any) error {
	if len(payload) > MaxMessage {
		return Refuse(CodeInvalidRequest, "message %q has %d bytes, and no more than %d are read; shorten it", Storable(name),
			len(payload), MaxMessage)
	}
	if len(payload) == 0 && !slices.Contains(decisive, name) {
		return nil
	}
	if err := decodeObject(payload, out); err != nil {
		return Refuse(CodeInvalidRequest, "message %q cannot be read (%s); send a JSON object such as %s", name,
			Storable(err.Error()), examples[name])
	}
	return nil
}

// UnknownSignal is the refusal of a signal whose name the workflow does not know; known are the names that it knows.
func UnknownSignal(name string, known []string) *Refusal {
	return Refuse(CodeInvalidRequest, "there is no signal %q here; the signals are %s", Storable(name),
		strings.Join(known, ", "))
}

// decodeObject reads one JSON object that has no field which out has not.
func decodeObject(text []byte, out any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return errors.New("it is not a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("there is more than one value")
	}
	return nil
}

// decisive are the messages that say nothing without content.
var decisive = []string{SignalReconnect, SignalResume, SignalApprove, SignalDeny}

var examples = map[string]string{
	SignalReconnect: `{"renderedVersion":"7"}`,
	SignalResume:    `{"by":"alice","reason":"checked on site","expectVersion":"7"}`,
	SignalWithdraw:  `{"by":"alice","reason":"scrapped"}`,
	SignalLook:      `{}`,
	SignalCancel:    `{"by":"alice","reason":"wrong backup"}`,
	SignalApprove:   `{"by":"alice","reason":"known device","labels":{"site":"berlin"}}`,
	SignalDeny:      `{"by":"alice","reason":"unknown device"}`,

	SignalSuperseded:       `{"byRestoreId":"r2"}`,
	SignalPredecessorEnded: `{"restoreId":"r1"}`,
	SignalLateJoinerEnded:  `{"orgId":"` + DefaultOrgID + `","name":"web-7","outcome":"normal"}`,
	SignalBatchCalled:      `{"number":7}`,

	UpdateContinue:    `{"by":"alice","reason":"looked at web-7"}`,
	UpdateAbort:       `{"by":"alice","reason":"wrong image"}`,
	UpdateRetryFailed: `{"by":"alice","reason":"the link is back"}`,
}

// MaxMessage is how many bytes a message may have. Temporal takes signals of 2 MB, and a workflow that kept a few of
// them could not go on.
const MaxMessage = 64 << 10

// MaxText is how many bytes a name or reason that someone gives may have; it is kept in histories, audit and events.
const MaxText = 2000

// checkTexts refuses what the database cannot hold (a NUL character, bytes that are no UTF-8) or should not (more than
// MaxText bytes): no later attempt could succeed.
func checkTexts(texts ...string) error {
	total := 0
	for _, text := range texts {
		total += len(text)
		switch {
		case total > MaxMessage:
			return Refuse(CodeInvalidRequest, "the message has more than %d bytes of text; shorten it", MaxMessage)
		case len(text) > MaxText:
			return Refuse(CodeInvalidRequest, "a text of %d bytes is longer than the %d that are kept; shorten it", len(text),
				MaxText)
		case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
			return Refuse(CodeInvalidRequest,
				"the text %q holds a NUL character or is no UTF-8 and cannot be kept; leave that out", Storable(text))
		}
	}
	return nil
}

// Storable is a refused text as it can be kept in timeline and audit: without NUL characters or broken UTF-8, and cut
// to 200 characters.
func Storable(text string) string { return storable(text, 200) }

func storable(text string, longest int) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
	if len(text) <= longest {
		return text
	}
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
