package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge/fake"
)

// content is a file of a change: a text, a fixture, or nothing, where the path is deleted.
type content struct {
	text    string
	fixture string
	gone    bool
}

// UnmarshalYAML reads the three forms.
func (c *content) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Tag == "!!null":
		c.gone = true
		return nil
	case n.Kind == yaml.MappingNode:
		var f struct {
			Fixture string `yaml:"fixture"`
		}
		if err := strict(n, &f); err != nil {
			return err
		}
		c.fixture = f.Fixture
		return nil
	}
	return n.Decode(&c.text)
}

type contents map[string]*content

// files reads the contents; nil stands for a null of YAML, which never reaches UnmarshalYAML.
func (w *world) files(in contents) (fake.Files, error) {
	out := fake.Files{}
	for path, c := range in {
		switch {
		case c == nil || c.gone:
			out[path] = fake.File{Delete: true}
		case c.fixture != "":
			text, err := w.fixture(c.fixture)
			if err != nil {
				return nil, err
			}
			out[path] = fake.File{Text: text}
		default:
			text, err := reencrypt(w.fixtures, c.text)
			if err != nil {
				return nil, err
			}
			out[path] = fake.File{Text: text}
		}
	}
	return out, nil
}

type changeStep struct {
	ID      string   `yaml:"id"`
	Project string   `yaml:"project"`
	Branch  string   `yaml:"branch"`
	Subject string   `yaml:"subject"`
	Files   contents `yaml:"files"`
	Topic   string   `yaml:"topic"`
	Base    string   `yaml:"base"`
	Empty   bool     `yaml:"empty"`
	Status  string   `yaml:"status"`
}

func makeChange(ctx context.Context, w *world, s changeStep) error {
	files, err := w.files(s.Files)
	if err != nil {
		return err
	}
	subject := s.Subject
	if subject == "" {
		subject = s.ID
	}
	n, err := w.gerrit.Propose(ctx, fake.Proposal{Project: s.Project, Branch: s.Branch, Subject: subject, Topic: s.Topic,
		Status: s.Status, Files: files, Empty: s.Empty, Base: s.Base})
	if err != nil {
		return err
	}
	w.numbers[s.ID] = n
	w.ids[fmt.Sprint(n)] = s.ID
	return nil
}

type patchsetStep struct {
	Change string   `yaml:"change"`
	Files  contents `yaml:"files"`
	Empty  bool     `yaml:"empty"`
}

func addPatchset(ctx context.Context, w *world, s patchsetStep) error {
	n, _, err := w.patchset(s.Change)
	if err != nil {
		return err
	}
	files, err := w.files(s.Files)
	if err != nil {
		return err
	}
	return w.gerrit.Patchset(ctx, n, files, s.Empty)
}

// edit changes a change.
func (w *world) edit(id string, fn func(*fake.Change)) error {
	n, _, err := w.patchset(id)
	if err != nil {
		return err
	}
	return w.gerrit.Edit(n, fn)
}

type messageStep struct {
	Change string `yaml:"change"`
	Text   string `yaml:"text"`
}

func setMessage(_ context.Context, w *world, s messageStep) error {
	return w.edit(s.Change, func(c *fake.Change) { c.Message = s.Text })
}

func dependsOn(_ context.Context, w *world, s map[string][]string) error {
	for _, id := range slices.Sorted(maps.Keys(s)) {
		footers := ""
		for _, on := range s[id] {
			url, err := w.variable(on + ".url")
			if err != nil {
				return err
			}
			footers += "Depends-On: " + url + "\n"
		}
		if err := w.edit(id, func(c *fake.Change) { c.Message = c.Subject + "\n\n" + footers }); err != nil {
			return err
		}
	}
	return nil
}

func setParents(_ context.Context, w *world, s map[string]string) error {
	for _, id := range slices.Sorted(maps.Keys(s)) {
		n, _, err := w.patchset(id)
		if err != nil {
			return err
		}
		p, ps, err := w.patchset(s[id])
		if err != nil {
			return err
		}
		if err := w.gerrit.SetParent(n, p, ps); err != nil {
			return err
		}
	}
	return nil
}

type topicStep struct {
	Change string `yaml:"change"`
	Topic  string `yaml:"topic"`
}

func setTopic(_ context.Context, w *world, s topicStep) error {
	return w.edit(s.Change, func(c *fake.Change) { c.Topic = s.Topic })
}

func setWIP(_ context.Context, w *world, s map[string]bool) error {
	for id, is := range s {
		if err := w.edit(id, func(c *fake.Change) { c.WIP = is }); err != nil {
			return err
		}
	}
	return nil
}

type voteStep struct {
	Change string `yaml:"change"`
	Label  string `yaml:"label"`
	Value  int    `yaml:"value"`
	By     string `yaml:"by"`
	Text   string `yaml:"text"`
	Age    int    `yaml:"age"`
	Event  bool   `yaml:"event"`
}

func castVote(ctx context.Context, w *world, s voteStep) error {
	n, ps, err := w.patchset(s.Change)
	if err != nil {
		return err
	}
	if s.By == "" {
		s.By = "reviewer_john"
	}
	if err := w.gerrit.Vote(n, s.Label, s.Value, s.By, time.Duration(s.Age)*time.Second); err != nil || !s.Event {
		return err
	}
	return w.gerrit.Comment(ctx, n, ps, s.Text, change.Vote{Label: s.Label, Value: s.Value, User: s.By, Email: s.By + "@example.com"})
}

func upload(ctx context.Context, w *world, id string) error {
	n, ps, err := w.patchset(id)
	if err != nil {
		return err
	}
	return w.gerrit.Send(ctx, "patchset-created", n, ps)
}

func comment(ctx context.Context, w *world, s messageStep) error {
	n, ps, err := w.patchset(s.Change)
	if err != nil {
		return err
	}
	if s.Text == "" {
		s.Text = "This is a comment"
	}
	return w.gerrit.Comment(ctx, n, ps, "Patch Set 1:\n\n"+s.Text, change.Vote{Label: "Code-Review", Value: 0})
}

type eventStep struct {
	Type    string `yaml:"type"`
	Change  string `yaml:"change"`
	Label   string `yaml:"label"`
	Value   int    `yaml:"value"`
	Project string `yaml:"project"`
	Branch  string `yaml:"branch"`
	Tag     string `yaml:"tag"`
	Ref     string `yaml:"ref"`
	OldRev  string `yaml:"oldrev"`
	NewRev  string `yaml:"newrev"`
}

func sendEvent(ctx context.Context, w *world, s eventStep) error {
	switch s.Type {
	case "branch-created":
		ref := "refs/heads/" + s.Branch
		return w.gerrit.RefUpdated(ctx, s.Project, ref, change.Zero, w.repos.Commit(s.Project, ref))
	case "branch-deleted":
		return w.gerrit.RefUpdated(ctx, s.Project, "refs/heads/"+s.Branch, w.repos.Commit(s.Project, "refs/heads/master"), change.Zero)
	case "tag-created":
		ref := "refs/tags/" + s.Tag
		return w.gerrit.RefUpdated(ctx, s.Project, ref, change.Zero, w.repos.Commit(s.Project, ref))
	case "ref-updated":
		if s.Change == "" {
			return w.gerrit.RefUpdated(ctx, s.Project, s.Ref, s.OldRev, s.NewRev)
		}
	case "change-merged", "change-abandoned", "change-restored", "comment-added":
	default:
		return fmt.Errorf("there is no event of type %q", s.Type)
	}
	n, ps, err := w.patchset(s.Change)
	if err != nil {
		return err
	}
	switch s.Type {
	case "comment-added":
		return w.gerrit.Comment(ctx, n, ps, "", change.Vote{Label: s.Label, Value: s.Value})
	case "ref-updated":
		c, err := w.gerrit.Look(n)
		if err != nil {
			return err
		}
		return w.gerrit.RefUpdated(ctx, c.Project, c.Branch, w.repos.Commit(c.Project, "refs/tags/init"), c.Patchsets[ps-1].Commit)
	}
	return w.gerrit.Send(ctx, s.Type, n, ps)
}

func mergeChange(ctx context.Context, w *world, id string) error {
	n, _, err := w.patchset(id)
	if err != nil {
		return err
	}
	return w.gerrit.Merge(ctx, n)
}

func abandon(_ context.Context, w *world, id string) error {
	n, _, err := w.patchset(id)
	if err != nil {
		return err
	}
	return w.gerrit.Abandon(n)
}

func (w *world) refuse(id string, refuse bool) error {
	n, _, err := w.patchset(id)
	if err != nil {
		return err
	}
	return w.gerrit.Refuse(n, refuse)
}

type branchStep struct {
	Project string `yaml:"project"`
	Name    string `yaml:"name"`
}

func makeBranch(ctx context.Context, w *world, s branchStep) error {
	return w.repos.Branch(ctx, s.Project, s.Name)
}

func deleteBranch(_ context.Context, w *world, s branchStep) error {
	return w.repos.DeleteBranch(s.Project, s.Name)
}

type tagStep struct {
	Project string `yaml:"project"`
	Branch  string `yaml:"branch"`
	Name    string `yaml:"name"`
}

func makeTag(_ context.Context, w *world, s tagStep) error {
	return w.repos.Tag(s.Project, s.Branch, s.Name)
}

type repoStep struct {
	Project string `yaml:"project"`
	Tag     string `yaml:"tag"`
}

func makeRepo(ctx context.Context, w *world, s repoStep) error {
	return w.repos.Create(ctx, s.Project, "", nil, s.Tag)
}

type commitStep struct {
	Project string   `yaml:"project"`
	Branch  string   `yaml:"branch"`
	Message string   `yaml:"message"`
	Files   contents `yaml:"files"`
	Tag     string   `yaml:"tag"`
}

func pushCommit(ctx context.Context, w *world, s commitStep) error {
	files, err := w.files(s.Files)
	if err != nil {
		return err
	}
	return w.repos.Push(ctx, s.Project, s.Branch, s.Message, files, s.Tag)
}

type updateStep struct {
	Project string `yaml:"project"`
	From    string `yaml:"from"`
}

func updateConfig(ctx context.Context, w *world, s updateStep) error {
	text, err := w.fixture(s.From)
	if err != nil {
		return err
	}
	l, err := readLayout(text)
	if err != nil {
		return fmt.Errorf("%s: %w", s.From, err)
	}
	files := fake.Files{"zuul.yaml": {Text: text}}
	for _, j := range l.jobs {
		files["playbooks/"+strings.TrimPrefix(j, "/")+".yaml"] = fake.File{}
	}
	return w.repos.Push(ctx, s.Project, "master", "update configuration", files, "")
}
