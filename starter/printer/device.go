package printer

import (
	"encoding/json"
	"strings"
	"time"
)

// deviceStatus is what commands read of a device's status.
type deviceStatus struct {
	Summary             StatusPart `json:"summary"`
	Updated             StatusPart `json:"updated"`
	Lifecycle           StatusPart `json:"lifecycle"`
	ApplicationsSummary StatusPart `json:"applicationsSummary"`
	Config              struct {
		RenderedVersion string `json:"renderedVersion"`
	} `json:"config"`
	LastSeen *time.Time `json:"lastSeen"`
}

// StatusPart is a status with a sentence about it.
type StatusPart struct {
	Status string `json:"status"`
	Info   string `json:"info"`
}

// ReadDeviceStatus reads what it can: a status that is not as Flight Control writes it shows as empty, and is no
// reason to show nothing of the device.
func ReadDeviceStatus(status json.RawMessage) deviceStatus {
	var s deviceStatus
	if len(status) > 0 {
		_ = json.Unmarshal(status, &s)
	}
	return s
}

// Line is the status and what it says, in one line.
func (s StatusPart) Line() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Status+": "+s.Info, ": "), ": ")
}
