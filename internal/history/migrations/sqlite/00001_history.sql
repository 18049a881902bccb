-- Buildsets, the refs that they were about, builds, and what builds left behind: the shape of Zuul's
-- SQL reporter. Times are microseconds since 1970 in UTC; 0 is "not known".

-- +goose Up
CREATE TABLE buildset (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL DEFAULT '',
    pipeline TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    event_id TEXT NOT NULL DEFAULT '',
    event_timestamp INTEGER NOT NULL DEFAULT 0,
    first_build_start_time INTEGER NOT NULL DEFAULT 0,
    last_build_end_time INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX buildset_tenant_id ON buildset (tenant, id);
CREATE INDEX buildset_tenant_pipeline_id ON buildset (tenant, pipeline, id);

CREATE TABLE ref (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL DEFAULT '',
    canonical TEXT NOT NULL DEFAULT '',
    branch TEXT NOT NULL DEFAULT '',
    change TEXT NOT NULL DEFAULT '',
    patchset TEXT NOT NULL DEFAULT '',
    ref TEXT NOT NULL DEFAULT '',
    oldrev TEXT NOT NULL DEFAULT '',
    newrev TEXT NOT NULL DEFAULT '',
    ref_url TEXT NOT NULL DEFAULT ''
);
CREATE INDEX ref_project_change ON ref (project, change);
CREATE INDEX ref_change ON ref (change);

CREATE TABLE buildset_ref (
    buildset_id INTEGER NOT NULL REFERENCES buildset (id),
    ref_id INTEGER NOT NULL REFERENCES ref (id),
    position INTEGER NOT NULL,
    PRIMARY KEY (buildset_id, ref_id)
);
CREATE INDEX buildset_ref_ref ON buildset_ref (ref_id);

CREATE TABLE build (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    buildset_id INTEGER NOT NULL REFERENCES buildset (id),
    ref_id INTEGER NOT NULL REFERENCES ref (id),
    job_name TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    result TEXT NOT NULL,
    queued_time INTEGER NOT NULL DEFAULT 0,
    requested_time INTEGER NOT NULL DEFAULT 0,
    start_time INTEGER NOT NULL DEFAULT 0,
    end_time INTEGER NOT NULL DEFAULT 0,
    waited TEXT NOT NULL DEFAULT '',
    voting BOOLEAN NOT NULL,
    final BOOLEAN NOT NULL,
    held BOOLEAN NOT NULL,
    log_url TEXT NOT NULL DEFAULT '',
    error_detail TEXT NOT NULL DEFAULT '',
    nodeset TEXT NOT NULL DEFAULT '',
    executor TEXT NOT NULL DEFAULT ''
);
CREATE INDEX build_buildset ON build (buildset_id);
CREATE INDEX build_ref ON build (ref_id);
CREATE INDEX build_job_result ON build (job_name, result, id);

CREATE TABLE artifact (
    build_id INTEGER NOT NULL REFERENCES build (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    metadata TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (build_id, position)
);

CREATE TABLE provides (
    build_id INTEGER NOT NULL REFERENCES build (id),
    name TEXT NOT NULL,
    PRIMARY KEY (build_id, name)
);
CREATE INDEX provides_name ON provides (name);

-- +goose Down
DROP TABLE provides;
DROP TABLE artifact;
DROP TABLE build;
DROP TABLE buildset_ref;
DROP TABLE ref;
DROP TABLE buildset;
