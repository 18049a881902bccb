-- +goose Up
-- The job's place in its graph, as JSON, so that a buildset of the past can be laid out in time.
ALTER TABLE build ADD COLUMN edges TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE build DROP COLUMN edges;
