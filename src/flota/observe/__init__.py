"""The world's echo: what the proxies' own figures say becomes `Signals`; and Flota's own metrics."""
