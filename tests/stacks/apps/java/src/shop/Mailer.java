package shop;

import java.sql.SQLException;
import java.sql.Statement;

/** Mails a confirmation of every order, one mailer at a time: java -cp … shop.Mailer */
public final class Mailer {
    private static volatile boolean over;

    public static void main(String[] args) throws Exception {
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            over = true;
            try {
                main.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        try (var statement = Database.connection().createStatement()) {
            var alone = first(statement, "SELECT pg_try_advisory_lock(4711)::int") == 1;
            var release = System.getenv().getOrDefault("RELCTL_RELEASE", "");
            var run = first(statement, "INSERT INTO mailer (release, refused) VALUES ('"
                    + release + "', " + !alone + ") RETURNING id");
            if (!alone) {
                System.err.println("another mailer is at it");
                return;
            }
            while (!over) {
                statement.execute("UPDATE mailer SET last = clock_timestamp() WHERE id = " + run);
                if (!mailOne(statement)) {
                    Thread.sleep(200);
                }
            }
        }
    }

    private static boolean mailOne(Statement statement) throws SQLException {
        try (var rows = statement.executeQuery("UPDATE orders SET mails = mails + 1 WHERE id ="
                + " (SELECT min(id) FROM orders WHERE mails = 0) RETURNING item")) {
            if (!rows.next()) {
                return false;
            }
            System.out.println("mail about " + rows.getString(1));
            return true;
        }
    }

    private static long first(Statement statement, String sql) throws SQLException {
        try (var rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    private Mailer() {}
}
