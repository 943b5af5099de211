package workflows

import (
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

var (
	attributeDeviceStatus = temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceStatus)
	attributeDeviceName   = temporal.NewSearchAttributeKeyKeyword(runbook.AttributeDeviceName)
	attributeFleet        = temporal.NewSearchAttributeKeyKeyword(runbook.AttributeFleet)
	attributeRestoreID    = temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID)
)
