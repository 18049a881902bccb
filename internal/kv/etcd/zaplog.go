package etcd

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// harmless are warnings that etcd gives in the ordinary life of an embedded member; an operator
// could do nothing about them.
var harmless = map[string]bool{
	// There is no HTTP at all.
	"Running http and grpc server on single port. This is not recommended for production.": true,
	// Tokens are for users and passwords, which an embedded member does not have.
	"simple token is not cryptographically signed": true,
	// A new member tells the version of its files once the first raft term is written to them.
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
	// Close came before a new member had written its version down; it tries again each start.
	"failed to update cluster version": true,
	// Close came when it was about to begin something.
	"server has stopped; skipping GoAttach": true,
	// Start closes the listeners that it has when another port is taken, and says so itself.
	"closing peer listener":         true,
	"creating peer listener failed": true,
}

// serving are what etcd says when it stops to serve other processes.
var serving = map[string]bool{
	"setting up serving from embedded etcd failed.": true,
	"stopping insecure grpc server due to error":    true,
	"stopped insecure grpc server due to error":     true,
	"stopping secure grpc server due to error":      true,
	"stopped secure grpc server due to error":       true,
}

// zapLogger makes the logger that etcd wants out of ours. It passes on warnings and worse; what
// etcd says beyond is of use to those who work on etcd.
func zapLogger(log *slog.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return zap.New(slogCore{log: log.With("component", "etcd")})
}

// slogCore is a zapcore.Core that writes to slog.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func (slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.log, slices.Concat(c.fields, fields)}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !harmless[e.Message] {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(enc)
	}
	switch text, _ := enc.Fields["error"].(string); {
	case e.Message == "failed to apply request" && strings.Contains(text, "no space"):
		return nil // the alarm was told of, and whoever asks is told
	case serving[e.Message] && strings.Contains(strings.ToLower(text), "closed"):
		return nil // by Close
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for _, k := range slices.Sorted(maps.Keys(enc.Fields)) {
		attrs = append(attrs, slog.Any(k, enc.Fields[k]))
	}
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	if e.Level == zapcore.FatalLevel {
		attrs = append(attrs, slog.String("consequence", "etcd cannot go on and ends this process; what was acknowledged is safe: see to its disk, and start it again"))
	}
	c.log.LogAttrs(context.Background(), level, e.Message, attrs...)
	return nil
}

func (slogCore) Sync() error { return nil }
