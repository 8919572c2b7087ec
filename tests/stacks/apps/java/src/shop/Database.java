package shop;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;

/** A connection for each thread. */
final class Database {
    private static final ThreadLocal<Connection> KEPT = new ThreadLocal<>();

    static Connection connection() throws SQLException {
        var kept = KEPT.get();
        if (kept == null || !kept.isValid(2)) {
            kept = DriverManager.getConnection(System.getenv("DATABASE"));
            KEPT.set(kept);
        }
        return kept;
    }

    private Database() {}
}
