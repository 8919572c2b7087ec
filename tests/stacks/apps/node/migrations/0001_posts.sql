CREATE TABLE posts (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  author text NOT NULL,
  words text NOT NULL,
  color text,
  release text,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  mails int NOT NULL DEFAULT 0
);

CREATE TABLE mailer (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  release text,
  refused boolean NOT NULL,
  began timestamptz NOT NULL DEFAULT clock_timestamp(),
  last timestamptz NOT NULL DEFAULT clock_timestamp()
);
