CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    item text NOT NULL,
    fax text,
    release text NOT NULL,
    ordered timestamptz NOT NULL DEFAULT clock_timestamp(),
    mails int NOT NULL DEFAULT 0
);
CREATE TABLE mailer (
    id bigserial PRIMARY KEY,
    release text NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(),
    last timestamptz NOT NULL DEFAULT clock_timestamp(),
    refused boolean NOT NULL
);
