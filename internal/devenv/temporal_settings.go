package devenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// temporalDB is the development server's database, in its directory.
const temporalDB = "temporal.db"

// onePartitionFile stands beside a database whose tasks have always been written to one partition of their queue.
const onePartitionFile = "one-partition"

// settings are the development server's dynamic configuration, as KEY=VALUE, where its defaults are for other uses.
func settings(cfg TemporalConfig) ([]string, error) {
	all, err := partitions(cfg.Dir)
	if err == nil && len(cfg.SearchAttributes) > 0 {
		// They are there from the start, and need not be read from the database each time that a workflow has one, as the
		// development server does for those who add them later.
		all = append(all, "system.forceSearchAttributesCacheRefreshOnRead=false")
	}
	return all, err
}

// partitions are the settings for a task queue. Four partitions, the default, are for the polls of many workers: those
// of one are spread over them, so that a task often finds none where it is, and waits. What is in a partition is found
// only as long as that is read, and a database that was begun with four may have tasks in each. (One in memory is
// always new.)
func partitions(dir string) ([]string, error) {
	const write, read = "matching.numTaskqueueWritePartitions=1", "matching.numTaskqueueReadPartitions=1"
	if dir == "" {
		return []string{write, read}, nil
	}
	file := filepath.Join(dir, onePartitionFile)
	if !exists(filepath.Join(dir, temporalDB)) {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return nil, fmt.Errorf("begin a database: %w", err)
		}
	}
	if !exists(file) {
		return []string{write}, nil
	}
	return []string{write, read}, nil
}
