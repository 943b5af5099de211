package simulator

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Amount is a number of devices, or a share of them where Share is not 0. In a file it is a number or a percentage:
// 12, or 15%.
type Amount struct {
	Count int
	Share float64
}

// IsZero reports whether it is none.
func (a Amount) IsZero() bool { return a == Amount{} }

// of is how many of n it is.
func (a Amount) of(n int) int {
	if a.Share != 0 {
		return int(math.Round(a.Share * float64(n)))
	}
	return a.Count
}

// UnmarshalJSON reads a whole number, or a string with a percentage.
func (a *Amount) UnmarshalJSON(text []byte) error {
	var percent string
	if json.Unmarshal(text, &percent) == nil {
		number, ok := strings.CutSuffix(percent, "%")
		share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !ok || err != nil || !(share >= 0 && share <= 100) {
			return fmt.Errorf("%q is not an amount: write a number of devices, such as 12, or a share of them, such as 15%%",
				percent)
		}
		*a = Amount{Share: share / 100}
		return nil
	}
	var count int
	if err := json.Unmarshal(text, &count); err != nil || count < 0 {
		return fmt.Errorf("%s is not an amount: write a number of devices, such as 12, or a share of them, such as 15%%",
			text)
	}
	*a = Amount{Count: count}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (a Amount) MarshalJSON() ([]byte, error) {
	if a.Share != 0 {
		return json.Marshal(strconv.FormatFloat(a.Share*100, 'f', -1, 64) + "%")
	}
	return json.Marshal(a.Count)
}

// Range is from how many to how many seconds something takes. In a file it is [1, 4], or 3 where it is always the same.
type Range struct {
	From, To float64
}

// UnmarshalJSON reads a number, or a list of two.
func (r *Range) UnmarshalJSON(text []byte) error {
	var both []float64
	if err := json.Unmarshal(text, &both); err != nil {
		var one float64
		if err := json.Unmarshal(text, &one); err != nil {
			return notARange(text)
		}
		both = []float64{one, one}
	}
	if len(both) != 2 || both[0] < 0 || both[1] < both[0] || both[1] > maxSeconds {
		return notARange(text)
	}
	*r = Range{both[0], both[1]}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (r Range) MarshalJSON() ([]byte, error) { return json.Marshal([]float64{r.From, r.To}) }

func notARange(text []byte) error {
	return fmt.Errorf("%s is not a range of seconds: write [1, 4], or 3 where it is always the same; %v at most", text,
		maxSeconds)
}
