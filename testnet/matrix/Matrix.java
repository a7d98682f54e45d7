// The adaptor of Kafka's own client for Java; run as `java -cp JARS Matrix.java BOOTSTRAP`.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Matrix {
    static final HexFormat HEX = HexFormat.of();
    static final Map<String, Reader> consumers = new HashMap<>();
    static final Map<String, KafkaProducer<byte[], byte[]>> open = new HashMap<>();
    static String boot;
    static Admin admin;

    public static void main(String[] words) throws Exception {
        boot = words[0];
        admin = Admin.create(settings());
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] all = line.split(" ");
            try {
                List<?> found = answer(all[0], Arrays.copyOfRange(all, 1, all.length));
                StringBuilder told = new StringBuilder("ok");
                for (Object word : found) {
                    told.append(' ').append(word);
                }
                say(told.toString());
            } catch (UnsupportedOperationException why) {
                say("none " + why.getMessage());
            } catch (Exception error) {
                error.printStackTrace();
                say("failed " + error.toString().replace('\n', ' '));
            }
        }
        admin.close();
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static Properties settings(String... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", boot);
        for (int at = 0; at < pairs.length; at += 2) {
            settings.put(pairs[at], pairs[at + 1]);
        }
        return settings;
    }

    static List<?> answer(String verb, String[] w) throws Exception {
        switch (verb) {
            case "write":
                return write(w);
            case "read":
                return read(w);
            case "transact":
                return transact(w);
            case "transfer":
                return transfer(w);
            case "finish":
                open.remove(w[0]).commitTransaction();
                return List.of();
            case "join":
            case "deal":
                consumers.put(w[0], new Reader(w[0], w[1], w[2], verb.equals("deal")));
                return List.of();
            case "leave":
                consumers.remove(w[0]).leave();
                return List.of();
            case "ends":
            case "time":
                return offsets(verb, place(w), w);
            default:
                return administer(verb, w);
        }
    }

    static TopicPartition place(String[] w) {
        return new TopicPartition(w[0], Integer.parseInt(w[1]));
    }

    static byte[] unword(String text) {
        return text.equals("-") ? null : text.equals(".") ? new byte[0] : HEX.parseHex(text);
    }

    static String word(byte[] value) {
        return value == null ? "-" : value.length == 0 ? "." : HEX.formatHex(value);
    }

    static List<?> write(String[] w) throws Exception {
        Properties settings = settings("acks", "all", "linger.ms", "5", "compression.type", w[2], "max.request.size",
            "8000000", "enable.idempotence", String.valueOf(w[3].equals("idempotent")));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> writer = new KafkaProducer<>(settings, bytes, bytes)) {
            for (String event : Arrays.copyOfRange(w, 4, w.length)) {
                String[] said = event.split(":");
                Long time = said[2].equals("-") ? null : Long.valueOf(said[2]);
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                    w[0], Integer.valueOf(w[1]), time, unword(said[0]), unword(said[1]));
                for (String pair : said[3].equals(".") ? new String[0] : said[3].split(",")) {
                    String[] header = pair.split("=");
                    record.headers().add(new String(unword(header[0]), StandardCharsets.UTF_8), unword(header[1]));
                }
                sent.add(writer.send(record));
            }
            List<Object> offsets = new ArrayList<>();
            for (Future<RecordMetadata> one : sent) {
                offsets.add(one.get().offset());
            }
            return offsets;
        }
    }

    static KafkaProducer<byte[], byte[]> begun(String name, String timeout) {
        Properties settings = settings("transactional.id", name, "transaction.timeout.ms", timeout);
        ByteArraySerializer bytes = new ByteArraySerializer();
        KafkaProducer<byte[], byte[]> writer = new KafkaProducer<>(settings, bytes, bytes);
        writer.initTransactions();
        writer.beginTransaction();
        return writer;
    }

    static void put(KafkaProducer<byte[], byte[]> writer, TopicPartition to, String event) throws Exception {
        String[] said = event.split(":");
        writer.send(new ProducerRecord<>(to.topic(), to.partition(), unword(said[0]), unword(said[1]))).get();
    }

    static List<?> transact(String[] w) throws Exception {
        KafkaProducer<byte[], byte[]> writer = begun(w[0], w[1].equals("open") ? "3000" : "30000");
        for (String event : Arrays.copyOfRange(w, 4, w.length)) {
            put(writer, new TopicPartition(w[2], Integer.parseInt(w[3])), event);
        }
        if (w[1].equals("open")) {
            open.put(w[0], writer);
            return List.of();
        }
        if (w[1].equals("commit")) {
            writer.commitTransaction();
        } else {
            writer.abortTransaction();
        }
        writer.close();
        return List.of();
    }

    static List<?> transfer(String[] w) throws Exception {
        try (KafkaProducer<byte[], byte[]> writer = begun(w[0], "30000")) {
            TopicPartition place = new TopicPartition(w[2], Integer.parseInt(w[3]));
            put(writer, place, w[5]);
            OffsetAndMetadata offset = new OffsetAndMetadata(Long.parseLong(w[4]));
            writer.sendOffsetsToTransaction(Map.of(place, offset), new ConsumerGroupMetadata(w[1]));
            writer.commitTransaction();
        }
        return List.of();
    }

    static KafkaConsumer<byte[], byte[]> consumer(Properties settings) {
        settings.putIfAbsent("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<?> read(String[] w) {
        Properties settings = settings("enable.auto.commit", "false");
        if (w[4].equals("committed")) {
            settings.put("isolation.level", "read_committed");
        }
        if (w[4].equals("small")) {
            settings.put("fetch.max.bytes", "1000");
            settings.put("max.partition.fetch.bytes", "1000");
        }
        int count = Integer.parseInt(w[3]);
        List<String> found = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> reader = consumer(settings)) {
            reader.assign(List.of(place(w)));
            reader.seek(place(w), Long.parseLong(w[2]));
            long end = System.nanoTime() + 30_000_000_000L;
            while (found.size() < count && System.nanoTime() < end) {
                reader.poll(Duration.ofMillis(200)).forEach(record -> found.add(show(record)));
            }
        }
        return found.subList(0, Math.min(count, found.size()));
    }

    static String show(ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(word(header.key().getBytes(StandardCharsets.UTF_8)) + "=" + word(header.value()));
        }
        String said = headers.isEmpty() ? "." : String.join(",", headers);
        return record.offset() + ":" + word(record.key()) + ":" + word(record.value()) + ":" + record.timestamp() + ":" + said;
    }

    static List<?> offsets(String verb, TopicPartition place, String[] w) {
        try (KafkaConsumer<byte[], byte[]> reader = consumer(settings())) {
            List<TopicPartition> one = List.of(place);
            if (verb.equals("ends")) {
                return List.of(reader.beginningOffsets(one).get(place), reader.endOffsets(one).get(place));
            }
            OffsetAndTimestamp found = reader.offsetsForTimes(Map.of(place, Long.valueOf(w[2]))).get(place);
            return List.of(found == null ? "-" : found.offset());
        }
    }

    static List<?> administer(String verb, String[] w) throws Exception {
        switch (verb) {
            case "create":
                Map<String, String> pairs = new HashMap<>();
                for (String pair : Arrays.copyOfRange(w, 2, w.length)) {
                    pairs.put(pair.split("=")[0], pair.split("=")[1]);
                }
                NewTopic topic = new NewTopic(w[0], Integer.parseInt(w[1]), (short) 3).configs(pairs);
                admin.createTopics(List.of(topic)).all().get();
                return List.of();
            case "parts":
                return List.of(admin.describeTopics(List.of(w[0])).allTopicNames().get().get(w[0]).partitions().size());
            case "grow":
                admin.createPartitions(Map.of(w[0], NewPartitions.increaseTo(Integer.parseInt(w[1])))).all().get();
                return List.of();
            case "settings":
                ConfigResource asked = new ConfigResource(ConfigResource.Type.TOPIC, w[0]);
                Config config = admin.describeConfigs(List.of(asked)).all().get().get(asked);
                return config.entries().stream().map(it -> it.name() + "=" + it.value()).toList();
            case "set":
                ConfigResource set = new ConfigResource(ConfigResource.Type.TOPIC, w[0]);
                ConfigEntry entry = new ConfigEntry(w[1].split("=")[0], w[1].split("=")[1]);
                AlterConfigOp change = new AlterConfigOp(entry, AlterConfigOp.OpType.SET);
                admin.incrementalAlterConfigs(Map.of(set, List.of(change))).all().get();
                return List.of();
            case "trim":
                RecordsToDelete below = RecordsToDelete.beforeOffset(Long.parseLong(w[2]));
                admin.deleteRecords(Map.of(place(w), below)).all().get();
                return List.of();
            case "delete":
                admin.deleteTopics(List.of(w[0])).all().get();
                return List.of();
            case "streams":
                return new ArrayList<>(admin.listTopics().names().get());
            default:
                return administerGroups(verb, w);
        }
    }

    static List<?> administerGroups(String verb, String[] w) throws Exception {
        switch (verb) {
            case "state":
                return List.of(admin.describeConsumerGroups(List.of(w[0])).all().get().get(w[0]).state());
            case "groups":
                return admin.listConsumerGroups().all().get().stream().map(it -> it.groupId()).toList();
            case "committed":
                TopicPartition place = new TopicPartition(w[1], Integer.parseInt(w[2]));
                return List.of(admin.listConsumerGroupOffsets(w[0]).partitionsToOffsetAndMetadata().get().get(place).offset());
            case "ungroup":
                admin.deleteConsumerGroups(List.of(w[0])).all().get();
                return List.of();
            default:
                throw new UnsupportedOperationException("no " + verb);
        }
    }

    /** A consumer of a group on a thread of its own. */
    static class Reader extends Thread {
        final String name;
        final String stream;
        final String group;
        final boolean dealt;
        volatile boolean stopped;

        Reader(String name, String stream, String group, boolean dealt) {
            this.dealt = dealt;
            this.name = name;
            this.stream = stream;
            this.group = group;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            Properties settings = settings("group.id", group, "client.id", name, "auto.commit.interval.ms", "200");
            if (dealt) {
                settings.put("group.protocol", "consumer");
            } else {
                settings.put("heartbeat.interval.ms", "500");
                settings.put("session.timeout.ms", "10000");
            }
            try (KafkaConsumer<byte[], byte[]> reader = consumer(settings)) {
                reader.subscribe(List.of(stream));
                while (!stopped) {
                    reader.poll(Duration.ofMillis(100)).forEach(it -> say("got " + name + " " + word(it.value())));
                }
            } catch (Exception error) {
                error.printStackTrace();
                say("bad " + name + " " + error.toString().replace('\n', ' '));
            }
        }

        void leave() throws InterruptedException {
            stopped = true;
            join(30_000);
        }
    }
}
