package main

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// asksAtOnce is how many devices are asked at the same time: enough that a thousand are done in a moment, and few enough
// that the workers answer each well within its time-out.
const asksAtOnce = 32

// askEach asks many at the same time, while a meter shows how many have answered. The answers are in the order of targets:
// what goes wrong with one is its answer, and stops no other.
func askEach[T, A any](ctx context.Context, streams IO, targets []T, ask func(context.Context, T) A) []A {
	meter := newMeter(streams, len(targets))
	defer meter.close()
	answers := make([]A, len(targets))
	var group errgroup.Group
	group.SetLimit(asksAtOnce)
	for i, target := range targets {
		group.Go(func() error {
			answers[i] = ask(ctx, target)
			meter.step()
			return nil
		})
	}
	_ = group.Wait() // no function of the group returns an error
	return answers
}
