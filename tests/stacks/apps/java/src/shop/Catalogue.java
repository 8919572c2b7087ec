package shop;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The supplier's prices, all kept in memory. He has 40 pages of them, and gives one a second. */
final class Catalogue {
    private static final int PAGES =
            Integer.parseInt(System.getenv().getOrDefault("CATALOGUE_PAGES", "40"));

    private final Map<String, Integer> cents = new ConcurrentHashMap<>();
    private volatile int pages;

    void load() throws InterruptedException {
        while (pages < PAGES) {
            Thread.sleep(1000);
            for (int number = 0; number < 500; number++) {
                cents.put("tea " + pages + "-" + number, 250 + number);
            }
            pages++;
        }
        System.out.println("the catalogue has " + cents.size() + " teas");
    }

    boolean complete() {
        return pages == PAGES;
    }

    String progress() {
        return pages + " of " + PAGES + " pages";
    }

    /** Null for what the supplier has not. */
    Integer cents(String item) {
        return cents.get(item);
    }
}
