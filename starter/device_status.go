package main

import (
	"encoding/json"
	"time"
)

// deviceStatus is what commands read of a device's status.
type deviceStatus struct {
	Summary             statusPart `json:"summary"`
	Updated             statusPart `json:"updated"`
	Lifecycle           statusPart `json:"lifecycle"`
	ApplicationsSummary statusPart `json:"applicationsSummary"`
	Config              struct {
		RenderedVersion string `json:"renderedVersion"`
	} `json:"config"`
	LastSeen *time.Time `json:"lastSeen"`
}

type statusPart struct {
	Status string `json:"status"`
	Info   string `json:"info"`
}

// readDeviceStatus reads what it can: a status that is not as Flight Control writes it shows as empty, and is no reason to
// show nothing of the device.
func readDeviceStatus(status json.RawMessage) deviceStatus {
	var s deviceStatus
	if len(status) > 0 {
		_ = json.Unmarshal(status, &s)
	}
	return s
}
