package shop;

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** A shop on a port of this machine: java -cp … shop.Main PORT */
public final class Main {
    private static final int THREADS = 8;

    public static void main(String[] args) throws Exception {
        var catalogue = new Catalogue();
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]));
        var server = HttpServer.create(address, 1024);
        server.createContext("/", new Shop(catalogue));
        var threads = Executors.newFixedThreadPool(THREADS);
        server.setExecutor(threads);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            threads.shutdown(); // what has been begun is answered
            try {
                threads.awaitTermination(20, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        server.start();
        catalogue.load();
    }
}
