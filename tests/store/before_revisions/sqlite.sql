-- The tables as gonogo made them before the store had revisions (commit fe0f031), statement by statement.
CREATE TABLE images (
    sha256 VARCHAR(64) NOT NULL,
    format VARCHAR(8) NOT NULL,
    n_bytes BIGINT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    last_seen FLOAT NOT NULL,
    kept BOOLEAN NOT NULL,
    PRIMARY KEY (sha256)
);

CREATE TABLE keys (
    id VARCHAR(16) NOT NULL,
    name VARCHAR(200) NOT NULL,
    role VARCHAR(7) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    at FLOAT NOT NULL,
    revoked FLOAT,
    PRIMARY KEY (id)
);

CREATE TABLE activations (
    id INTEGER NOT NULL,
    at FLOAT NOT NULL,
    bundle VARCHAR(64) NOT NULL,
    started_with VARCHAR(64) NOT NULL,
    "key" VARCHAR(16) NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE inspections (
    id VARCHAR(32) NOT NULL,
    at FLOAT NOT NULL,
    image VARCHAR(64) NOT NULL,
    name VARCHAR(128),
    verdict VARCHAR(6) NOT NULL,
    score FLOAT NOT NULL,
    threshold FLOAT NOT NULL,
    p_value FLOAT NOT NULL,
    probability FLOAT,
    uncertain BOOLEAN NOT NULL,
    regions TEXT NOT NULL,
    category VARCHAR(200) NOT NULL,
    bundle VARCHAR(64) NOT NULL,
    certificate TEXT NOT NULL,
    timings_ms TEXT NOT NULL,
    "key" VARCHAR(16) NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(image) REFERENCES images (sha256)
);

CREATE INDEX ix_inspections_at ON inspections (at);

CREATE INDEX ix_inspections_verdict ON inspections (verdict);

CREATE INDEX ix_inspections_image ON inspections (image);

CREATE TABLE reviews (
    id INTEGER NOT NULL,
    inspection VARCHAR(32) NOT NULL,
    at FLOAT NOT NULL,
    label VARCHAR(6) NOT NULL,
    defect_type VARCHAR(200),
    note TEXT,
    reviewer VARCHAR(200) NOT NULL,
    "key" VARCHAR(16) NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(inspection) REFERENCES inspections (id)
);

CREATE INDEX ix_reviews_inspection ON reviews (inspection);
