//! Who is in the matrix, what each needs, and what each is known not to do.

/// Where a client comes from.
pub enum Source {
    /// An adaptor in Python, in a virtual environment with these packages.
    Python(&'static str, &'static [&'static str]),
    /// An adaptor for Node.js, beside these packages.
    Node(&'static str, &'static [&'static str]),
    /// Jars of this folder inside a Python package, for Java.
    Jars { adaptor: &'static str, package: &'static str, folder: &'static str },
    /// A program of the system, whose adaptor is in Python.
    Program(&'static str, &'static str),
}

/// A client.
pub struct Client {
    pub name: &'static str,
    pub source: Source,
    /// The cells that cannot be done with it.
    pub lacks: &'static [&'static str],
}

pub const CLIENTS: &[Client] = &[
    Client {
        name: "kafka-python 3.0.12",
        source: Source::Python(
            "kafka_python.py",
            &["kafka-python==3.0.12", "lz4", "zstandard", "python-snappy"],
        ),
        lacks: &["dealt"],
    },
    Client {
        name: "kafka-python 2.0.2",
        source: Source::Python(
            "kafka_python.py",
            &["kafka-python==2.0.2", "lz4", "zstandard", "python-snappy"],
        ),
        lacks: &["dealt", "idempotent", "transactions"],
    },
    Client {
        name: "confluent-kafka 2.16",
        source: Source::Python("confluent.py", &["confluent-kafka==2.16.*"]),
        lacks: &[],
    },
    Client {
        name: "aiokafka 0.14.0",
        source: Source::Python(
            "aio.py",
            &["aiokafka==0.14.0", "lz4", "zstandard", "python-snappy", "cramjam"],
        ),
        lacks: &["dealt"],
    },
    Client {
        name: "kafkajs 2.2.4",
        source: Source::Node("kafkajs.mjs", &["kafkajs@2.2.4"]),
        lacks: &["dealt"],
    },
    Client {
        name: "platformatic 1.35.0",
        source: Source::Node("platformatic.mjs", &["@platformatic/kafka@1.35.0"]),
        // It says of each transactional producer that it was producer 0 before: a second one is refused.
        lacks: &["dealt", "transactions"],
    },
    Client {
        name: "kcat",
        source: Source::Program("kcat", "kcat.py"),
        lacks: &["dealt", "admin", "transactions"],
    },
    Client {
        name: "Java 3.9.1",
        source: Source::Jars {
            adaptor: "Matrix.java",
            package: "shigawire-apache-flink-libraries==2.0.0.post1",
            folder: "pyflink/lib",
        },
        lacks: &[],
    },
];
