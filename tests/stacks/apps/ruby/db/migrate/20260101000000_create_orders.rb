class CreateOrders < ActiveRecord::Migration[6.1]
  def change
    create_table :orders do |t|
      t.string :buyer, null: false
      t.string :item, null: false
      t.string :fax
      t.string :release
      t.integer :served, null: false, default: 0
      t.datetime :ordered, null: false, default: -> { "clock_timestamp()" }
    end
    create_table :kitchens do |t|
      t.string :release
      t.boolean :refused, null: false
      t.datetime :began, null: false, default: -> { "clock_timestamp()" }
      t.datetime :last, null: false, default: -> { "clock_timestamp()" }
    end
  end
end
