package board

import (
	"math"
	"time"
)

// fewest is how many answers make a rate that an estimate may be based on.
const fewest = 3

// Pace is how fast devices answer the roll call: how many have, in how long.
type Pace struct {
	Answered int64
	In       time.Duration
}

// PerMinute is the number of answers a minute.
func (p Pace) PerMinute() float64 {
	if p.In <= 0 {
		return 0
	}
	return float64(p.Answered) / p.In.Minutes()
}

// Left is how long it takes at this pace until so many devices have answered. ok is false where no estimate can be
// made: too few have answered, or none is awaited.
func (p Pace) Left(awaited int64) (left time.Duration, ok bool) {
	if p.Answered < fewest || p.In <= 0 || awaited <= 0 {
		return 0, false
	}
	seconds := math.Ceil(float64(awaited) * p.In.Seconds() / float64(p.Answered))
	if seconds > (365 * 24 * time.Hour).Seconds() {
		return 0, false // of no use to anyone
	}
	return time.Duration(seconds) * time.Second, true
}
