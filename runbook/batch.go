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

// Slice is a part of a roll: the entries whose sequence number is at least From and below To.
type Slice struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// PlanBatches divides a roll of total entries, numbered from 0, into slices of at most size entries. A size of 0 or less
// is DefaultBatchSize; a fleet so large that this makes more than MaxBatches gets larger slices, up to MaxBatchSize. More
// than MaxBatches*MaxBatchSize devices are a *Refusal: restore one organisation at a time.
func PlanBatches(total int64, size int) ([]Slice, error) {
	if size <= 0 {
		size = DefaultBatchSize
	}
	if size > MaxBatchSize {
		size = MaxBatchSize
	}
	if most := int64(MaxBatches) * MaxBatchSize; total > most {
		return nil, Refuse(CodeInvalidRequest, "%d devices are more than one restore can hold (%d); restore one organisation at a time", total, most)
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
