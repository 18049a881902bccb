package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gozer-ci/gozer/internal/config"
)

// usageError is a command line that makes no sense: all that is wrong with it, and where the help is.
type usageError struct {
	cmd   *cobra.Command
	wrong []string
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%s\n  usage: %s\n  help:  %s --help", strings.Join(e.wrong, "; "), e.cmd.UseLine(), e.cmd.CommandPath())
}

func wrongUse(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, []string{fmt.Sprintf(format, args...)}}
}

// strict has every command say in the same words what is wrong with the line that called it.
func strict(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(wrongFlag)
	takes := cmd.Args
	if takes == nil {
		takes = cobra.ArbitraryArgs
	}
	switch {
	case cmd.HasSubCommands() && cmd.RunE == nil:
		cmd.Args = unknownVerb
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		cmd.Use += " COMMAND"
		cmd.DisableFlagsInUseLine = true
	case cmd.HasSubCommands():
		cmd.Args = cobra.MatchAll(unknownVerb, func(cmd *cobra.Command, args []string) error { return wrongArgs(cmd, args, nil) })
	default:
		cmd.Args = func(cmd *cobra.Command, args []string) error { return wrongArgs(cmd, args, takes(cmd, args)) }
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// usage is cobra's template, with one line for what a command is called like.
func usage(template string) string {
	return strings.Replace(template, "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}",
		"{{if and .HasAvailableSubCommands (not .DisableFlagsInUseLine)}}\n  {{.CommandPath}} COMMAND{{end}}", 1)
}

// helpCommand is "gozer help COMMAND"; asked for what is not there it says so.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Help about any command", ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownVerb(cmd, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// unknownVerb says what commands there are where the one that was asked for is none of them.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = max(1, len(args[0])/3)
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return wrongUse(cmd, "%s no command %q; did you mean %s?", has(cmd), args[0], strings.Join(near, " or "))
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			verbs = append(verbs, c.Name())
		}
	}
	if len(verbs) == 0 {
		return wrongUse(cmd, "%s no command %q", has(cmd), args[0])
	}
	return wrongUse(cmd, "%s no command %q; there are %s", has(cmd), args[0], strings.Join(verbs, ", "))
}

// has begins a sentence about what a command has or has not.
func has(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return "there is"
	}
	return called(cmd) + " has"
}

// called is a command as it is called, without the program.
func called(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.CommandPath(), "gozer ") }

// placeholders are what a line of use names beside the flags.
var placeholders = regexp.MustCompile(`--\S+ \S+|\(.*\)|\[flags\]`)

// wrongArgs tells everything that is missing from a line, or too much: arguments and flags together.
func wrongArgs(cmd *cobra.Command, args []string, err error) error {
	var wrong []string
	if err != nil {
		_, takes, _ := strings.Cut(cmd.Use, " ")
		takes = strings.TrimSpace(placeholders.ReplaceAllString(takes, ""))
		switch {
		case takes == "":
			wrong = append(wrong, fmt.Sprintf("%s takes no arguments, not %s", called(cmd), quoted(args)))
		case len(args) == 0:
			wrong = append(wrong, fmt.Sprintf("name %s", takes))
		default:
			wrong = append(wrong, fmt.Sprintf("%s takes %s, not %s", called(cmd), takes, quoted(args)))
		}
	}
	missing := func(annotation string, each func(f *pflag.Flag, value string)) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, v := range f.Annotations[annotation] {
				each(f, v)
			}
		})
	}
	var required []string
	missing(cobra.BashCompOneRequiredFlag, func(f *pflag.Flag, v string) {
		if v == "true" && !f.Changed {
			required = append(required, "--"+f.Name)
		}
	})
	if len(required) > 0 {
		wrong = append(wrong, "say "+and(required))
	}
	missing("cobra_annotation_one_required", func(f *pflag.Flag, v string) {
		group := strings.Split(v, " ")
		if f.Name == group[0] && !slices.ContainsFunc(group, cmd.Flags().Changed) {
			wrong = append(wrong, "say --"+strings.Join(group, " or --"))
		}
	})
	missing("cobra_annotation_mutually_exclusive", func(f *pflag.Flag, v string) {
		group := strings.Split(v, " ")
		set := slices.DeleteFunc(slices.Clone(group), func(n string) bool { return !cmd.Flags().Changed(n) })
		if f.Name == group[0] && len(set) > 1 {
			wrong = append(wrong, and(prefixed(set))+" exclude each other")
		}
	})
	if len(wrong) == 0 {
		return nil
	}
	return &usageError{cmd, wrong}
}

// wrongFlag names the flag that comes nearest to one that is not there.
func wrongFlag(cmd *cobra.Command, err error) error {
	var none *pflag.NotExistError
	if !errors.As(err, &none) {
		var value *pflag.InvalidValueError
		if errors.As(err, &value) {
			return wrongUse(cmd, "--%s %q: %v", value.GetFlag().Name, value.GetValue(), value.Unwrap())
		}
		return wrongUse(cmd, "%v", err)
	}
	name := none.GetSpecifiedName()
	if len(name) == 1 {
		return wrongUse(cmd, "%s no flag -%s", has(cmd), name)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, "--"+f.Name)
		}
	})
	if near := config.Suggest("--"+name, known); near != "" {
		return wrongUse(cmd, "%s no flag --%s; %s", has(cmd), name, near)
	}
	return wrongUse(cmd, "%s no flag --%s", has(cmd), name)
}

// elsewhere says how another server is named, where the one that was asked is not there.
func elsewhere(cmd *cobra.Command, err error) string {
	if dial := new(net.OpError); !errors.As(err, &dial) || dial.Op != "dial" {
		return ""
	}
	for flag, env := range map[string]string{"server": "GOZER_SERVER", "forge": "GOZER_FORGE"} {
		if f := cmd.Flags().Lookup(flag); f != nil && strings.Contains(err.Error(), f.Value.String()) {
			return fmt.Sprintf("is it running there? --%s or $%s names another", flag, env)
		}
	}
	return ""
}

func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = fmt.Sprintf("%q", a)
	}
	return and(out)
}

func prefixed(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "--" + n
	}
	return out
}

func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// oneOf is a flag that takes one of some words.
type oneOf struct {
	value *string
	words []string
}

func (o oneOf) String() string {
	if o.value == nil {
		return ""
	}
	return *o.value
}
func (o oneOf) Type() string { return "string" }
func (o oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return fmt.Errorf("it is one of %s", strings.Join(o.words, ", "))
	}
	*o.value = s
	return nil
}

// format adds --format to a command: text or json.
func format(cmd *cobra.Command) *string {
	var value string
	formats(cmd, &value, "text", "json")
	return &value
}

// formats adds --format with the words that a command knows; the first is the default, where value is empty.
func formats(cmd *cobra.Command, value *string, words ...string) {
	choice(cmd, value, "format", "f", "", words...)
}

// choice adds a flag that takes one of some words.
func choice(cmd *cobra.Command, value *string, name, short, about string, words ...string) {
	n := len(words) - 1
	*value = cmp.Or(*value, words[0])
	cmd.Flags().VarP(oneOf{value, words}, name, short, about+strings.Join(words[:n], ", ")+" or "+words[n])
	completeWords(cmd, name, words)
}
