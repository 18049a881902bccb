package git

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a git that stays open and answers one question after the other. Its owner's lock
// guards it.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	dead   bool
}

func (r *Repo) start(c command) (*process, error) {
	// The process outlives the call that needed it first; ask ends it where a call is cancelled.
	cmd := r.build(context.Background(), c)
	p := &process{cmd: cmd, stderr: &tail{}}
	cmd.Stderr = p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start git %s in %s: %w", strings.Join(c.args, " "), r.cfg.Dir, err)
	}
	p.in, p.out = in, bufio.NewReaderSize(out, 64<<10)
	return p, nil
}

// ask writes a question and lets read take the answer. A process that was cancelled or gave a bad
// answer is dead: what else it says belongs to no question.
func (p *process) ask(ctx context.Context, question string, read func(*bufio.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kill := context.AfterFunc(ctx, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	_, err := io.WriteString(p.in, question)
	if err == nil {
		err = read(p.out)
	}
	if !kill() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		p.stop()
	}
	return err
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p.dead {
		return
	}
	p.dead = true
	p.in.Close()
	timer := time.AfterFunc(grace, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait()
	timer.Stop()
}
