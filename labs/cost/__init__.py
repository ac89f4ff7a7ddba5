"""What things cost: the price book (CSV with source and date) and bills made with it. Pure code, no network."""

from labs.cost.bill import Bill, Line, bill
from labs.cost.pricebook import Price, PriceBook, PriceBookError, default_book, load_book

__all__ = ["Bill", "Line", "Price", "PriceBook", "PriceBookError", "bill", "default_book", "load_book"]
