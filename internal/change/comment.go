package change

// FileComment is a remark on lines of a file of a change.
type FileComment struct {
	Path      string `json:"path"`
	Line      int    `json:"line"`
	Level     string `json:"level,omitempty"` // info, warning, error
	Message   string `json:"message"`
	StartLine int    `json:"start_line,omitempty"`
	StartChar int    `json:"start_char,omitempty"`
	EndLine   int    `json:"end_line,omitempty"`
	EndChar   int    `json:"end_char,omitempty"`
}
