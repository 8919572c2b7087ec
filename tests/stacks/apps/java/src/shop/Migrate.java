package shop;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;

/** Runs the SQL files of directories that have not been run yet: java -cp … shop.Migrate DIRECTORY… */
public final class Migrate {
    public static void main(String[] args) throws Exception {
        var connection = Database.connection();
        connection.setAutoCommit(false); // all or nothing
        try (var statement = connection.createStatement()) {
            statement.execute("SELECT pg_advisory_xact_lock(4710)");
            statement.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY,"
                    + " applied timestamptz NOT NULL DEFAULT clock_timestamp())");
            var done = new ArrayList<String>();
            try (var rows = statement.executeQuery("SELECT name FROM migrations")) {
                while (rows.next()) {
                    done.add(rows.getString(1));
                }
            }
            for (var directory : args) {
                for (var file : sorted(Path.of(directory))) {
                    var name = file.getFileName().toString();
                    if (!done.contains(name)) {
                        statement.execute(Files.readString(file));
                        statement.execute("INSERT INTO migrations (name) VALUES ('" + name + "')");
                        System.out.println(name);
                    }
                }
            }
        }
        connection.commit();
    }

    private static Iterable<Path> sorted(Path directory) throws Exception {
        try (var files = Files.list(directory)) {
            return files.filter(file -> file.toString().endsWith(".sql")).sorted().toList();
        }
    }

    private Migrate() {}
}
