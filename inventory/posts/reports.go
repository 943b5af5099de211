package posts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// A device may report so many versions one after the other, and then one more each ReportEvery.
const (
	ReportsAtOnce = 5
	ReportEvery   = 30 * time.Second
)

const mayReport = `
with bucket as materialized (
    select r.restore_id, r.org_id, r.name,
        least($4, coalesce(r.report_credit, $4)
            + greatest(0, coalesce(extract(epoch from clock_timestamp() - r.report_credit_at), 0)) / $5) as credit
    from rollcall.roll r where r.restore_id = $1 and r.org_id = cast($2 as uuid) and r.name = $3
    for no key update
)
update rollcall.roll r set
    report_credit = b.credit - case when b.credit >= 1 then 1 else 0 end, report_credit_at = clock_timestamp(),
    held_back = r.held_back + case when b.credit >= 1 or not $6 then 0 else 1 end
from bucket b where r.restore_id = b.restore_id and r.org_id = b.org_id and r.name = b.name
returning case when b.credit >= 1 then 0 else (1 - b.credit) * $5 end`

// MayReport counts one more report of a device that is to be told to the roll call of a restore. wait is 0 where it may
// be told now, and otherwise after how long the next one may be. One that may not is counted on the row of the roll
// where counted says that it is new. All gateways count together. A device that is not on the roll may: the roll call
// refuses it.
func MayReport(
	ctx context.Context, db *sqlx.DB, restoreID, orgID, name string, counted bool,
) (wait time.Duration, err error) {
	var seconds float64
	err = db.GetContext(ctx, &seconds, mayReport,
		restoreID, orgID, name, float64(ReportsAtOnce), ReportEvery.Seconds(), counted)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count a report of device %s: %w", name, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
