-- +goose Up
-- What is old is looked for by when something last happened.
CREATE INDEX buildset_updated ON buildset (updated, id);

-- +goose Down
DROP INDEX buildset_updated;
