// The JSON of Gozer's API, as internal/api says it.

export interface LiveEvent {
  version: string
  snapshot?: boolean
  now: string
  pipelines?: Pipeline[]
  items?: Item[]
  gone_pipelines?: string[]
  gone_items?: string[]
}

export interface Pipeline {
  name: string
  description?: string
  manager: string
  position: number
  state: string
  reason?: string
  triggers?: string[]
  queues: Queue[]
}

export interface Queue {
  name: string
  branch?: string
  window: number
  items: string[]
}

export interface Ref {
  key: string
  id: string
  project: string
  canonical: string
  branch?: string
  ref: string
  url?: string
  owner?: string
  title?: string
}

export interface Problem {
  name?: string
  severity?: string
  project?: string
  branch?: string
  path?: string
  line?: number
  text: string
  short?: string
}

export interface Item {
  id: string
  pipeline: string
  refs: Ref[]
  live: boolean
  active: boolean
  ahead?: string
  behind?: string[]
  buildset?: string
  state: string
  note?: string
  why: string
  failing?: string[]
  problems?: Problem[]
  enqueued: string
  ends?: string
  jobs: Job[]
}

export interface Job {
  id: string
  name: string
  voting: boolean
  state: string
  result?: string
  build?: string
  tries?: number
  waiting?: string
  detail?: string
  why?: string
  depends?: { job: string; soft?: boolean }[]
  semaphores?: string[]
  queued?: string
  started?: string
  ended?: string
  estimate_ms?: number
  log_url?: string
}

export interface Graph {
  buildset: string
  pipeline: string
  refs: Ref[]
  result?: string
  live: boolean
  now: string
  jobs: Job[]
  critical?: string[]
  serial_ms: number
  parallel_ms: number
  lower_bound_ms: number
  bound?: string
  edges_known: boolean
}

export interface LockParty {
  pipeline: string
  item: string
  buildset: string
  precedence?: string
  since: string
  refs: Ref[]
  ends?: string
}

/** Lock is shared by buildsets of some pipelines; use is which part of the time since the first of past it was held. */
export interface Lock {
  name: string
  ageing?: number
  pipelines: { pipeline: string; precedence: string }[]
  holder?: LockParty
  waiting: LockParty[]
  past: { pipeline: string; from: string; to: string }[]
  use: number
  now: string
}

export interface RaceSide {
  job: string
  verb: string
  task: string
  place?: string
  changed?: boolean
  begin: string
  end: string
}

export interface Race {
  resource: { kind: string; host?: string; name?: string }
  first: RaceSide
  second: RaceSide
  overlapped: boolean
  idle?: boolean
}

export interface Races {
  observed: string[]
  missing: string[]
  races: Race[]
}

/** Change is one of the built-in forge. */
export interface Change {
  number: number
  project: string
  branch: string
  status: string
  topic?: string
  wip?: boolean
  owner: string
  created: string
  updated: string
  patchset: number
  current: { number: number; commit: string; message: string; uploader: string }
  votes?: { label: string; value: number; user?: string }[]
  landed?: string
}

export interface ChangeDetail extends Change {
  ref: string
  missing_labels: string[] | null
  comments: { patchset: number; user: string; at: string; text: string; votes?: { label: string; value: number }[] }[] | null
}

export interface LogLines {
  from: number
  lines: string[]
  total: number
  done: boolean
}

export interface HistoryRef {
  project: string
  branch: string
  change: string | null
  patchset: string | null
  ref: string
  newrev: string | null
  ref_url: string
}

export interface Build {
  uuid: string
  job_name: string
  result: string
  start_time: string | null
  end_time: string | null
  duration: number | null
  voting: boolean
  final: boolean
  log_url: string | null
  error_detail: string | null
  artifacts: { name: string; url: string }[]
  ref: HistoryRef
  pipeline: string
  buildset: { uuid: string }
  waited?: string
}

/** ExplainedBuild says why a build failed. */
export interface ExplainedBuild {
  detail?: string
  failure?: { playbook: string; task: string; host?: string; line: number; lines: string[] }
  novelty?: string
  new: boolean
  last_success?: Build
}

export interface Buildset {
  uuid: string
  result: string
  message: string
  pipeline: string
  event_timestamp: string | null
  first_build_start_time: string | null
  last_build_end_time: string | null
  refs: HistoryRef[]
}
