package host

import (
	"fmt"
	"io"
	"log/slog"
)

// NewLogger writes to w in format "text" or "json" (empty is text) from level "debug", "info", "warn" or "error"
// (empty is info) on. The error names a format or level that is none of these.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if level != "" {
		if err := least.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", level)
		}
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("log format %q is none of text, json", format)
	}
}
