// Sends queries over Flight SQL with Arrow's JDBC driver, as data tools do, and prints the results.
//
// Usage: `java Client.java jdbc:arrow-flight-sql://127.0.0.1:8434?useEncryption=false`

import java.sql.*;
import java.util.ArrayList;
import java.util.List;

class Client {
  public static void main(String[] arguments) throws SQLException {
    try (Connection connection = DriverManager.getConnection(arguments[0])) {
      try (Statement statement = connection.createStatement();
          ResultSet rows =
              statement.executeQuery("SELECT service, count(*) FROM spans GROUP BY service")) {
        while (rows.next()) {
          System.out.println("rows " + rows.getString(1) + " " + rows.getLong(2));
        }
      }
      try (PreparedStatement statement =
          connection.prepareStatement(
              "SELECT count(*) FROM spans WHERE service = ? AND duration_nanos > ?"
                  + " AND start_time < ? AND is_root = ?")) {
        statement.setString(1, "shop");
        statement.setLong(2, 5);
        statement.setTimestamp(3, new Timestamp(4_102_444_800_000L));
        statement.setBoolean(4, true);
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          System.out.println("bound " + rows.getLong(1));
        }
      }
      DatabaseMetaData told = connection.getMetaData();
      List<String> tables = new ArrayList<>();
      try (ResultSet rows = told.getTables("tidings", "views", "%", new String[] {"VIEW"})) {
        while (rows.next()) {
          tables.add(rows.getString("TABLE_NAME"));
        }
      }
      System.out.println("tables " + String.join(" ", tables));
      try (ResultSet rows = told.getColumns(null, null, "spans", "duration%")) {
        while (rows.next()) {
          System.out.println("column " + rows.getString("COLUMN_NAME"));
        }
      }
      System.out.println("server " + told.getDatabaseProductName());
      for (String refused : new String[] {"SELECT servce FROM spans", "DELETE FROM spans"}) {
        try (Statement statement = connection.createStatement()) {
          statement.executeQuery(refused);
        } catch (SQLException error) {
          String said = error.getMessage();
          System.out.println("refused " + said.substring(said.indexOf("\": ") + 3));
        }
      }
    }
  }
}
