// Colours of terminals in log lines.

import { AnsiUp } from 'ansi_up'

/** html turns one line into safe HTML: everything is escaped, colours become classes. */
export function html(line: string): string {
  const up = new AnsiUp() // one a line: a colour that was never ended does not run on
  up.use_classes = true
  up.escape_html = true
  return up.ansi_to_html(withoutControls(line))
}

/** plain is the line without colours. */
export function plain(line: string): string {
  return withoutControls(line).replace(/\x1b\[[0-9;]*m/g, '')
}

/** withoutControls shows what a terminal would: a carriage return writes the line anew. */
function withoutControls(line: string): string {
  const last = line.replace(/\r+$/, '').lastIndexOf('\r')
  return (last >= 0 ? line.slice(last + 1) : line).replace(/\x1b\[[0-9;?]*[A-Za-ln-z]/g, '').replace(/\x1b\][^\x07]*\x07/g, '')
}

/** stamped takes the time (UTC) off a line: as the API has times, and what follows it. */
export function stamped(line: string): { time: string; text: string } {
  const m = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) \| /.exec(line)
  return m ? { time: `${m[1]}T${m[2]}`, text: line.slice(m[0].length) } : { time: '', text: line }
}

/** kind tells lines that a reader looks for: results, tasks, errors. */
export function kind(line: string): '' | 'task' | 'play' | 'error' | 'changed' | 'ok' {
  const text = plain(stamped(line).text)
  if (/^PLAY (\[|RECAP)/.test(text) || /^(PRE-RUN|RUN|POST-RUN) (START|END)/.test(text)) return 'play'
  if (/^(TASK|LOOP) \[/.test(text)) return 'task'
  if (/^(fatal|failed): |^ERROR|^Traceback|^\S+( -> \S+)? \| (ERROR|FAILED|MODULE FAILURE)/.test(text) || /\bERROR\b/.test(text)) return 'error'
  const state = /^(?:\S+(?: -> \S+)? \| )?(changed|ok)(?:: |:?$)/.exec(text)
  if (state) return state[1] as 'changed' | 'ok'
  return ''
}
