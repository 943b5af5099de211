package runbook

// DefaultBatchSize is how many devices one parent workflow starts; a restore of more is divided into batches. Large
// batches fight over their parent: each child's start and end is a write to it.
const DefaultBatchSize = 500

// MaxBatches keeps the batches of one restore well below Temporal's limit of 2,000 pending children a workflow, and
// MaxBatchSize the devices of one batch.
const (
	MaxBatches   = 1000
	MaxBatchSize = 1500
)

// How many batches of a restore call their devices at a time. The fewer they are, the more of a batch's devices start
// in one of its workflow tasks; the more they are, the more of a large cluster is used (docs/performance.md). With
// MaxBatchesAtOnce of DefaultBatchSize the first of them has called its devices within minutes on a small server as
// well: a gateway takes a restore that calls no one for longer for one that stands still.
const (
	DefaultBatchesAtOnce = 2
	MaxBatchesAtOnce     = 32
)

// BatchesAtOnce is how many batches begin together where a restore's input says asked: as many, up to
// MaxBatchesAtOnce, or DefaultBatchesAtOnce for 0 or less.
func BatchesAtOnce(asked int) int {
	if asked <= 0 {
		return DefaultBatchesAtOnce
	}
	return min(asked, MaxBatchesAtOnce)
}

// LateBatch is the batch of a device that joined the roll late: its enrollment starts its workflow.
const LateBatch = -1

// Slice is a part of a roll: the entries whose sequence number is at least From and below To.
type Slice struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// PlanBatches divides a roll of total entries, numbered from 0, into slices of at most size entries. A size of 0 or
// less is DefaultBatchSize; a fleet so large that this makes more than MaxBatches gets larger slices, up to
// MaxBatchSize. More than MaxBatches*MaxBatchSize devices are a *Refusal: restore one organisation at a time.
func PlanBatches(total int64, size int) ([]Slice, error) {
	if size <= 0 {
		size = DefaultBatchSize
	}
	if size > MaxBatchSize {
		size = MaxBatchSize
	}
	if most := int64(MaxBatches) * MaxBatchSize; total > most {
		return nil, Refuse(CodeInvalidRequest,
			"%d devices are more than one restore can hold (%d); restore one organisation at a time", total, most)
	}
	if needed := int((total + MaxBatches - 1) / MaxBatches); needed > size {
		size = needed
	}
	slices := make([]Slice, 0, total/int64(size)+1)
	for from := int64(0); from < total; from += int64(size) {
		slices = append(slices, Slice{From: from, To: min(from+int64(size), total)})
	}
	return slices, nil
}
